"""The command `validate`, and what it makes of repositories that are no good at all."""

import json
import os
from pathlib import Path

import pytest

from triton_kit import check_repository
from triton_kit.errors import RepositoryError, SpecError

GOOD = """\
backend: "identity"
input [ { name: "a" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "b" data_type: TYPE_FP32 dims: [ 4 ] } ]
"""
BAD = GOOD + "max_batch_size: 8\ndynamic_batching { preferred_batch_size: [ 9 ] }\n"


@pytest.fixture
def repository(tmp_path):
    """Write models by name and config: `repository(m=GOOD)`."""

    def write(**configs):
        for name, config in configs.items():
            (tmp_path / "r" / name / "1").mkdir(parents=True)
            (tmp_path / "r" / name / "config.pbtxt").write_text(config)
        return tmp_path / "r"

    return write


def test_validate_exits_with_0_if_every_model_would_load(kit, repository):
    result = kit("validate", repository(m=GOOD))

    assert result.exit_code == 0
    assert (
        "1 model: all accepted by Triton 2.51 (0 errors, 0 warnings)" in result.output
    )


def test_validate_exits_with_1_and_says_where_why_and_what_to_do(kit, repository):
    root = repository(good=GOOD, m=BAD)

    result = kit("validate", root)

    assert result.exit_code == 1
    assert f"{root}/m/config.pbtxt:5:44: error D2: dynamic batching" in result.output
    assert "hint: it is 9 and max_batch_size is 8" in result.output
    assert "2 models: 1 rejected" in result.output


@pytest.mark.parametrize(
    "words", [["absent"], [".", "--server", "1.99"], [".", "--gpus", "-1"]]
)
def test_validate_exits_with_2_if_it_cannot_check(kit, words):
    result = kit("validate", *words)

    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_json_has_all_of_a_finding(kit, repository):
    result = kit("validate", repository(m=BAD), "--format", "json")

    whole = json.loads(result.output)
    assert not whole["accepted"]
    assert whole["models"] == [{"name": "m", "accepted": False}]
    assert whole["findings"][0] == {
        "model": "m",
        "rule": "D2",
        "severity": "error",
        "path": whole["root"] + "/m/config.pbtxt",
        "line": 5,
        "column": 44,
        "message": whole["findings"][0]["server_text"],
        "hint": "it is 9 and max_batch_size is 8: raise max_batch_size or remove "
        "the size",
        "server_text": "dynamic batching preferred size must be <= max batch size "
        "for m",
    }


def test_github_gets_annotations(kit, repository):
    result = kit("validate", repository(m=BAD), "--format", "github")

    assert result.output.startswith("::error file=")
    assert "title=D2 m,line=5,col=44::dynamic batching" in result.output
    assert "%0Ahint: it is 9" in result.output


def test_gpus_and_backends_change_the_verdict(repository):
    on_gpu = GOOD + "instance_group [ { kind: KIND_GPU gpus: [ 1 ] } ]"
    root = repository(m=on_gpu)

    assert not check_repository(root).accepted
    assert not check_repository(root, gpus=1).accepted
    assert check_repository(root, gpus=2).accepted
    assert not check_repository(root, gpus=2, backends=["python"]).accepted


def test_a_release_names_a_server_too(repository):
    root = repository(m=GOOD)

    assert check_repository(root, server="24.10").accepted
    with pytest.raises(SpecError, match=r"1\.99"):
        check_repository(root, server="1.99")


def test_a_model_in_place_of_a_repository_is_named_as_such(repository):
    with pytest.raises(RepositoryError, match="a model, not a repository") as caught:
        check_repository(repository(m=GOOD) / "m")

    assert "/r" in caught.value.hint


def test_an_empty_repository_is_accepted_with_a_warning(tmp_path):
    report = check_repository(tmp_path)

    assert report.accepted
    assert [f.rule for f in report.warnings] == ["K20"]


def test_a_config_of_ten_megabytes_is_read(repository):
    tags = [f'metric_tags {{ key: "{i}" value: "{i:x>1000}" }}\n' for i in range(9800)]
    huge = GOOD + "".join(tags)
    root = repository(m=huge)

    assert (root / "m" / "config.pbtxt").stat().st_size > 9_900_000
    assert check_repository(root).accepted


def test_binary_garbage_is_a_finding(repository):
    root = repository(m=GOOD)
    (root / "m" / "config.pbtxt").write_bytes(os.urandom(1000))

    assert check_repository(root).reason("m").rule.startswith("P")


def test_a_name_that_is_no_utf8_is_a_finding_that_prints(kit, tmp_path):
    folder = os.fsencode(tmp_path) + b"/r/caf\xe9/1"
    Path(os.fsdecode(folder)).mkdir(parents=True)

    result = kit("validate", tmp_path / "r", "--format", "json")

    assert result.exit_code == 1
    assert json.loads(result.output)["models"][0]["name"] == "caf\ufffd"


def test_a_link_out_of_the_repository_is_warned_of(repository, tmp_path):
    root = repository(m=GOOD)
    (tmp_path / "elsewhere").mkdir()
    (root / "m").rename(tmp_path / "elsewhere" / "m")
    (root / "m").symlink_to(tmp_path / "elsewhere" / "m")

    report = check_repository(root)

    assert report.accepted
    assert [f.rule for f in report.warnings] == ["K21"]


def test_a_link_that_leads_in_circles_is_no_model(repository):
    root = repository(m=GOOD)
    (root / "loop").symlink_to(root / "loop")

    assert check_repository(root).models == ("m",)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_a_finding(repository):
    root = repository(m=GOOD)
    (root / "m").chmod(0)
    try:
        report = check_repository(root)
    finally:
        (root / "m").chmod(0o755)

    assert report.reason("m").rule == "F1"


def test_a_long_chain_of_ensembles_is_checked(repository):
    def ensemble(step):
        return (
            'platform: "ensemble"\n'
            + GOOD.partition("\n")[2]
            + f'ensemble_scheduling {{ step {{ model_name: "{step}" model_version: -1 '
            'input_map { key: "a" value: "a" } output_map { key: "b" value: "b" } } }'
        )

    chain = {f"e{i}": ensemble(f"e{i + 1}") for i in range(1200)}
    root = repository(**chain, e1200=GOOD)

    assert check_repository(root).accepted


def test_nothing_of_a_finding_is_missing_for_a_folder_without_config(tmp_path):
    (tmp_path / "m").mkdir()

    finding = check_repository(tmp_path).reason("m")

    assert finding.rule == "R2"
    assert finding.path == tmp_path / "m"
    assert finding.line == 0
    assert 'set backend: "..."' in finding.hint


def test_the_example_repository_is_accepted():
    root = Path(__file__).parents[3] / "model_repository"

    report = check_repository(root)

    assert report.accepted, report.errors
    assert report.warnings == ()

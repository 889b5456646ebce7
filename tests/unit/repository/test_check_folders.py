"""Links, left-overs and names in a repository; several repositories for one server."""

import pytest

from triton_kit import check_repository

GOOD = """\
backend: "identity"
input [ { name: "a" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "b" data_type: TYPE_FP32 dims: [ 4 ] } ]
"""
BAD = GOOD + "max_batch_size: -1\n"


@pytest.fixture
def repository(tmp_path):
    def write(root="r", **configs):
        for name, config in configs.items():
            (tmp_path / root / name / "1").mkdir(parents=True)
            (tmp_path / root / name / "config.pbtxt").write_text(config)
        return tmp_path / root

    return write


def rules(report):
    return {f.rule: f for f in report.findings}


@pytest.mark.parametrize("target", ["nowhere", "gone"])
def test_a_dangling_link_at_the_root_keeps_every_model_from_loading(repository, target):
    root = repository(m=GOOD)
    (root / "gone").symlink_to(target)

    report = check_repository(root)

    assert rules(report)["F5"].severity == "error"
    assert f"failed to stat file {root}/gone" in rules(report)["F5"].server_text
    assert report.rejected_models() == ("m",)


def test_a_dangling_link_in_a_model_keeps_it_from_loading(repository):
    root = repository(m=GOOD, other=GOOD)
    (root / "m" / "labels.txt").symlink_to("nowhere")

    report = check_repository(root)

    assert report.reason("m").rule == "F6"
    assert report.rejected_models() == ("m",)


def test_a_link_that_leads_somewhere_is_fine(repository):
    root = repository(m=GOOD)
    (root / "m" / "labels.txt").symlink_to("config.pbtxt")

    assert check_repository(root).findings == ()


@pytest.mark.parametrize("name", ["a b", "a#1", "modèle", "50%"])
def test_a_name_that_no_url_has_is_warned_of(repository, name):
    found = rules(check_repository(repository(**{name: GOOD})))

    assert found["K27"].severity == "warning"


def test_a_version_below_zero_is_warned_of(repository):
    root = repository(m=GOOD)
    (root / "m" / "1").rename(root / "m" / "-1")

    assert "no client can name" in rules(check_repository(root))["K29"].message


@pytest.mark.parametrize(
    ("file", "hint"),
    [
        ("config.pbtx", "config.pbtx is not read: rename it to config.pbtxt"),
        ("Config.pbtxt", "Config.pbtxt is not read: rename it to config.pbtxt"),
        ("1/config.pbtxt", "move 1/config.pbtxt up"),
    ],
)
def test_a_misplaced_config_is_explained_first(tmp_path, file, hint):
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / file).write_text(GOOD)

    assert hint in check_repository(tmp_path).reason("m").hint


def test_a_folder_of_the_file_system_is_explained(tmp_path, repository):
    root = repository(m=GOOD)
    (root / "lost+found").mkdir()

    assert "file system" in check_repository(root).reason("lost+found").hint


@pytest.mark.parametrize(
    ("config", "hint"),
    [
        (GOOD, "(1/...)"),
        (GOOD.replace("identity", "python"), "(1/model.py)"),
        (GOOD.replace("identity", "tensorrt"), "(1/model.plan)"),
        (GOOD.replace("identity", "pytorch"), "(1/model.pt)"),
        (
            'platform: "ensemble" ensemble_scheduling { step { model_name: "x" '
            'input_map { key: "a" value: "a" } output_map { key: "b" value: "b" } } }'
            + GOOD.partition("\n")[2],
            "1/.gitkeep",
        ),
    ],
)
def test_a_missing_version_names_the_file_of_the_backend(tmp_path, config, hint):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.pbtxt").write_text(config)
    findings = check_repository(tmp_path).findings

    assert hint in next(f for f in findings if f.rule == "V1").hint


def test_variables_that_were_not_filled_in_are_one_warning(repository):
    more = "".join(
        f'parameters {{ key: "k{i}" value {{ string_value: "${{v{i}}}" }} }}\n'
        for i in range(24)
    )
    findings = check_repository(repository(m=GOOD + more)).findings

    assert [f.rule for f in findings] == ["K23"]
    assert "${v0} and 23 more" in findings[0].message


def test_bytes_that_are_no_utf8_are_accepted_with_a_warning(repository):
    root = repository(m=GOOD)
    with (root / "m" / "config.pbtxt").open("ab") as file:
        file.write(b'parameters { key: "k" value { string_value: "caf\xe9" } }')

    report = check_repository(root)

    assert report.accepted
    assert rules(report)["P8"].line == 4


def test_a_custom_config_takes_precedence(repository):
    root = repository(m=BAD, other=GOOD)
    (root / "m" / "configs").mkdir()
    (root / "m" / "configs" / "eu.pbtxt").write_text(GOOD)

    assert not check_repository(root).accepted
    assert not check_repository(root, config_name="us").accepted
    assert check_repository(root, config_name="eu").findings == ()


def test_two_repositories_are_served_together(repository):
    ensemble = (
        'platform: "ensemble"\n'
        + GOOD.partition("\n")[2]
        + 'ensemble_scheduling { step { model_name: "m" model_version: -1 '
        'input_map { key: "a" value: "a" } output_map { key: "b" value: "b" } } }'
    )
    first, second = repository("one", e=ensemble), repository("two", m=GOOD)

    assert check_repository([first, second]).accepted
    assert not check_repository(first).accepted


def test_a_name_in_two_repositories_is_loaded_from_neither(repository):
    first, second = repository("one", m=GOOD), repository("two", m=GOOD)

    report = check_repository([first, second])
    spaced = check_repository([first, second], namespacing=True)

    assert [f.rule for f in report.errors] == ["U1", "U1"]
    assert "not unique across all model repositories" in report.errors[0].server_text
    assert spaced.accepted


def test_a_namespace_prefers_its_own_step(repository):
    def ensemble(kind):
        return (
            'platform: "ensemble"\n'
            + GOOD.partition("\n")[2].replace("FP32", kind)
            + 'ensemble_scheduling { step { model_name: "m" model_version: -1 '
            'input_map { key: "a" value: "a" } output_map { key: "b" value: "b" } } }'
        )

    first = repository("one", m=GOOD, e=ensemble("FP32"))
    second = repository("two", m=GOOD.replace("FP32", "INT32"), f=ensemble("INT32"))
    third = repository("three", g=ensemble("FP32"))

    assert check_repository([first, second], namespacing=True).accepted
    ambiguous = check_repository([first, second, third], namespacing=True)
    assert "not available or ambiguous" in ambiguous.reason("g").server_text

"""`validate --format sarif`, read with models that SARIF's schema was made into."""

import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from fluidattacks_core.sarif import SarifLog

from triton_kit import check_repository
from triton_kit.repository.check.findings import SERVER_RULE
from triton_kit.repository.check.rule_texts import rule_text
from triton_kit.repository.check.sarif import as_sarif
from triton_kit.server_verdict import ServerVerdict, with_verdicts

GOOD = """\
backend: "identity"
input [ { name: "a" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "b" data_type: TYPE_FP32 dims: [ 4 ] } ]
"""
BAD = GOOD + "max_batch_size: 8\ndynamic_batching { preferred_batch_size: [ 9 ] }\n"
WARNED = GOOD + "dynamic_batching { }\n"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout, as the current folder, with models in a folder of a strange name."""
    models = tmp_path / "checkout" / "my models é"
    for name, config in {"bad": BAD, "warned": WARNED}.items():
        (models / name / "1").mkdir(parents=True)
        (models / name / "config.pbtxt").write_text(config)
    monkeypatch.chdir(tmp_path / "checkout")
    return models


def read(text):
    """The one run of a log that SARIF's schema accepts."""
    SarifLog.model_validate_json(text)
    return json.loads(text)["runs"][0]


def results(run):
    return {result["ruleId"]: result for result in run["results"]}


def place(result):
    return result["locations"][0]["physicalLocation"]


def test_a_finding_has_rule_level_message_and_place(kit, checkout):
    done = kit("validate", "my models é", "--format", "sarif")
    run = read(done.output)
    found = results(run)["D2"]

    assert done.exit_code == 1
    assert found["level"] == "error"
    assert "hint: it is 9 and max_batch_size is 8" in found["message"]["text"]
    assert place(found)["artifactLocation"] == {
        "uri": "my%20models%20%C3%A9/bad/config.pbtxt",
        "uriBaseId": "SRCROOT",
    }
    assert place(found)["region"] == {"startLine": 5, "startColumn": 44}
    assert run["columnKind"] == "unicodeCodePoints"
    rule = run["tool"]["driver"]["rules"][found["ruleIndex"]]
    assert rule["id"] == "D2"
    assert rule_text("D2") in rule["help"]["text"]


def test_warnings_are_of_the_level_warning(kit, checkout):
    run = read(kit("validate", checkout, "--format", "sarif").output)

    assert results(run)["K3"]["level"] == "warning"


@pytest.mark.parametrize("name", ["my models é", "../checkout/my models é"])
def test_any_way_to_write_the_folder_gives_an_address_in_the_checkout(
    kit, checkout, name
):
    found = results(read(kit("validate", name, "--format", "sarif").output))

    uri = place(found["D2"])["artifactLocation"]["uri"]
    assert unquote(uri) == "my models é/bad/config.pbtxt"


def test_a_repository_outside_the_checkout_has_whole_addresses(checkout, tmp_path):
    log = as_sarif(check_repository(checkout), tmp_path / "elsewhere")
    artifact = place(results(read(log))["D2"])["artifactLocation"]

    assert "uriBaseId" not in artifact
    path = unquote(urlsplit(artifact["uri"]).path)
    assert Path(path) == checkout / "bad" / "config.pbtxt"


def test_a_fingerprint_stays_when_lines_move(kit, checkout):
    config = checkout / "bad" / "config.pbtxt"
    before = results(read(kit("validate", checkout, "--format", "sarif").output))["D2"]
    config.write_text("\n\n" + config.read_text())
    after = results(read(kit("validate", checkout, "--format", "sarif").output))["D2"]

    assert place(before)["region"] != place(after)["region"]
    assert before["partialFingerprints"] == after["partialFingerprints"]


def test_a_finding_about_a_folder_has_no_line(kit, checkout):
    (checkout / "empty").mkdir()

    found = read(kit("validate", checkout, "--format", "sarif").output)["results"]
    of_folder = [r for r in found if place(r)["artifactLocation"]["uri"].endswith("y")]

    assert of_folder
    assert all("region" not in place(result) for result in of_folder)


def test_no_finding_is_a_log_without_results(kit, checkout):
    for name in ("bad", "warned"):
        (checkout / name / "config.pbtxt").write_text(GOOD)

    done = kit("validate", checkout, "--format", "sarif", "-o", "out.sarif")

    assert done.exit_code == 0
    assert done.output == ""
    assert read(Path("out.sarif").read_text())["results"] == []


def test_what_only_the_server_rejects_is_a_result_too(checkout):
    report = check_repository(checkout)
    verdicts = [
        ServerVerdict("bad", accepted=False, reason="preferred size"),
        ServerVerdict("warned", accepted=False, reason="no file <x>"),
    ]

    run = read(as_sarif(with_verdicts(report, verdicts)))

    (found,) = [r for r in run["results"] if r["ruleId"] == SERVER_RULE]
    assert "no file <x>" in found["message"]["text"]
    assert place(found)["artifactLocation"]["uri"].endswith("warned/config.pbtxt")

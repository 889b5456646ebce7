"""Every rule, broken and repaired: the kit's verdict is the real server's."""

import pytest
from real_core import BACKENDS, core_reason
from rule_cases import CASES, FATAL, NEWER, STATE

from triton_kit import check_repository

pytestmark = pytest.mark.server


def put(files, root):
    for name, content in files.items():
        path = root / name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_broken_rule_is_refused_in_the_servers_words(core, case):
    verdict = core.judge(case.broken, case.model)
    report = check_repository(core.repository, backends=BACKENDS)
    finding = core_reason(report, case.model)

    assert not verdict.accepted
    assert finding is not None
    assert finding.rule == case.rule
    assert finding.hint or finding.rule in ("B2", "I14", "P6")
    assert (
        finding.server_text.strip()
        == verdict.reason[: len(finding.server_text)].strip()
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_repaired_twin_is_accepted(core, case):
    verdict = core.judge(case.repaired, case.model)
    report = check_repository(core.repository, backends=BACKENDS)

    assert verdict.accepted, verdict.text
    assert core_reason(report, case.model) is None


@pytest.mark.parametrize("case", STATE, ids=str)
def test_a_state_that_may_abort_the_server_is_refused(core, case, tmp_path):
    broken = check_repository(put(case.broken, tmp_path), backends=BACKENDS)
    verdict = core.judge(case.repaired, case.model)
    repaired = check_repository(core.repository, backends=BACKENDS)

    assert broken.reason("m").rule == case.rule
    assert broken.reason("m").server_text
    assert verdict.accepted, verdict.text
    assert core_reason(repaired, case.model) is None


@pytest.mark.parametrize("rule", FATAL)
def test_what_kills_the_server_is_refused(rule, tmp_path):
    finding = check_repository(put(FATAL[rule], tmp_path), backends=BACKENDS).reason(
        "m"
    )

    assert finding.rule == rule
    assert "abort" in finding.message
    assert finding.server_text == ""


@pytest.mark.parametrize("rule", NEWER)
def test_a_rule_of_newer_servers_holds_for_them(rule, tmp_path):
    server, files = NEWER[rule]
    report = check_repository(put(files, tmp_path), server=server, backends=BACKENDS)

    assert report.reason("m").rule == rule


def test_a_server_of_old_does_not_know_a_new_field(tmp_path):
    config = 'backend: "identity" model_metrics { }'
    put({"m/config.pbtxt": config, "m/1": None}, tmp_path)

    old = check_repository(tmp_path, server="2.51")
    new = check_repository(tmp_path, server="2.52")

    assert 'no field named "model_metrics"' in old.reason("m").server_text
    assert new.accepted


def test_a_server_that_died_before_is_no_verdict_on_a_model(core):
    """The judge asks the next one."""
    core.process.kill()
    core.process.wait()

    verdict = core.judge(CASES[0].repaired, CASES[0].model)

    assert verdict.accepted, verdict.ending


def test_the_cases_are_the_rules_of_the_list():
    """115 of the server's own rules, and those that were found since."""
    rules = {case.rule for case in [*CASES, *STATE]} | set(FATAL) | set(NEWER)
    listed = {
        *[f"P{i}" for i in range(1, 6)],
        *[f"R{i}" for i in range(1, 10)],
        *["V1", "V2", "C1", "L1", "L2", "T1", "A1", "A2"],
        *[f"D{i}" for i in range(1, 9)],
        *[f"S{i}" for i in range(1, 24)],
        *[f"I{i}" for i in range(1, 16)],
        *[f"B{i}" for i in range(1, 8)],
        *[f"G{i}" for i in range(1, 8)],
        *[f"W{i}" for i in range(1, 8)],
        *[f"E{i}" for i in range(1, 27)],
    }

    assert len(listed) == 115
    assert listed <= rules

"""What kills the real server, run: pytest tests/bench/repository/bench_fatal.py

The rules of these cases say so; here a server is lost for each to see that they are
right. Faults of implicit state are rejected or fatal, at random.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "server"))

from real_core import BACKENDS, real_core
from rule_cases import FATAL, STATE

from triton_kit import check_repository


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    with real_core(tmp_path_factory.mktemp("core") / "run") as judge:
        yield judge


@pytest.mark.parametrize("rule", FATAL)
def test_the_server_aborts(core, rule):
    assert core.judge(FATAL[rule], "m").ending == "aborted"


@pytest.mark.parametrize("case", STATE, ids=str)
def test_the_server_rejects_or_aborts(core, case):
    verdict = core.judge(case.broken, "m")
    finding = check_repository(core.repository, backends=BACKENDS).reason("m")

    assert verdict.ending == "aborted" or verdict.reason == finding.server_text

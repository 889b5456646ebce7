"""Random mutants of valid repositories: the kit's verdict is the real server's.

The full set is in tests/bench/repository/bench_mutants.py.
"""

import pytest
from google.protobuf import json_format
from mutants import mutants, originals
from real_core import BACKENDS, core_reason
from tritonclient.grpc.model_config_pb2 import ModelConfig

from triton_kit import check_repository
from triton_kit.repository.check.examine import examine
from triton_kit.repository.check.target import Target
from triton_kit.repository.config.parse import parse
from triton_kit.repository.config.render import render

pytestmark = pytest.mark.server


@pytest.mark.parametrize("name", originals())
def test_a_valid_original_is_accepted(core, name):
    verdict = core.judge(originals()[name], "m")
    report = check_repository(core.repository, backends=BACKENDS)

    assert verdict.accepted, verdict.text
    assert core_reason(report, "m") is None


def test_mutants_get_the_servers_verdict(core):
    disagreements = []
    for name, files in mutants(seed=0, count=300):
        verdict = core.judge(files, "m")
        report = check_repository(core.repository, backends=BACKENDS)
        finding = core_reason(report, "m")
        if (finding is None) != verdict.accepted:
            disagreements.append((name, verdict, finding))

    assert disagreements == []


def test_mutants_get_the_strict_servers_verdict(strict_core):
    disagreements = []
    for name, files in mutants(seed=1, count=150):
        verdict = strict_core.judge(files, "m")
        report = check_repository(
            strict_core.repository, strict=True, backends=BACKENDS
        )
        if (core_reason(report, "m") is None) != verdict.accepted:
            disagreements.append((name, verdict, core_reason(report, "m")))

    assert disagreements == []


@pytest.mark.parametrize("name", originals())
def test_a_config_is_completed_as_the_server_completes_it(core, name):
    files = originals()[name]
    answered = json_format.ParseDict(core.config_of(files, "m"), ModelConfig())
    case = examine(core.repository / "m", Target(backends=frozenset(BACKENDS))).case

    for step in answered.ensemble_scheduling.step:
        step.model_namespace = ""
    if case.is_ensemble:  # written by the server alone, whatever the value is
        answered.ClearField("model_transaction_policy")
    assert answered == case.config


@pytest.mark.parametrize("name", originals())
def test_the_server_accepts_what_is_rendered(core, name):
    files = dict(originals()[name])
    for path, text in files.items():
        if path.endswith("config.pbtxt"):
            files[path] = render(parse(text).config)

    assert core.judge(files, "m").accepted

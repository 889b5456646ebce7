"""1,000 random messages: pytest tests/bench/repository/bench_render.py

Each is rendered and read back, by protobuf and by the kit; 300 are read by the real
server too, which must find no fault in the text.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "server"))
sys.path.insert(0, str(Path(__file__).parents[2] / "unit" / "repository"))

from hypothesis import HealthCheck, given, settings
from real_core import real_core
from test_render import model_configs, parsed, same

from triton_kit.repository.config.parse import parse
from triton_kit.repository.config.render import render


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(config=model_configs())
def test_a_thousand_messages_survive(config):
    text = render(config)

    assert same(parsed(text), config)
    assert same(parse(text).config, config)


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    with real_core(tmp_path_factory.mktemp("core") / "run") as judge:
        yield judge


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(config=model_configs())
def test_the_server_reads_what_is_rendered(core, config):
    config.ClearField("model_metrics")  # newer than the server, as max_inflight_...
    config.ClearField("model_warmup")  # may be larger than memory
    config.ClearField("instance_group")  # may be more than there are threads
    if config.HasField("ensemble_scheduling"):
        config.ensemble_scheduling.ClearField("max_inflight_requests")

    verdict = core.judge({"m/config.pbtxt": render(config), "m/1": None}, "m")

    assert "Error parsing text-format" not in verdict.reason

"""Whatever lies in a repository, a check ends with a report and no traceback."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from triton_kit import check_repository
from triton_kit.repository.check.report import FORMATS

SNIPPETS = st.sampled_from(
    [
        *['backend: "identity" ', 'backend: "onnxruntime" ', 'platform: "ensemble" '],
        *["max_batch_size: 8 ", "max_batch_size: -9223372036854775808 ", 'name: "m" '],
        *['input { name: "a" data_type: TYPE_FP32 dims: [ 4 ] } ', "output { } "],
        *["input { dims: [ 9223372036854775807, 9223372036854775807 ] reshape { } } "],
        *['output { name: "a" label_filename: "../../x" } ', "instance_group { } "],
        *["dynamic_batching { preferred_batch_size: 4 } ", "sequence_batching { "],
        *["control_input { control { } } state { initial_state { } } } ", "} ", "{ "],
        *["ensemble_scheduling { step { model_name: 'm' } } ", "version_policy { } "],
        *["model_warmup { batch_size: 1 inputs { key: 'a' value { } } } ", "\x00", "é"],
        *["model_repository_agents { } ", "batch_input { } batch_output { } ", "# "],
        *[
            'instance_group { profile: "0x" kind: KIND_MODEL gpus: -1 } ',
            "model_metrics",
        ],
        *["parameters { key: 'TRITON_BATCH_STRATEGY_PATH' value { } } ", "${X}", "<"],
    ]
)
CONFIGS = st.one_of(
    st.none(),
    st.binary(max_size=60),
    st.lists(SNIPPETS, max_size=8).map(lambda parts: "".join(parts).encode()),
)
NAMES = st.one_of(
    st.sampled_from(["m", "n", "1", ".git", "m.identity", "a b", "é", "-", "9" * 30]),
    st.text(
        st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]),
        min_size=1,
        max_size=8,
    ).filter(lambda name: name not in (".", "..")),
)
FILES = st.sampled_from(
    ["1/model.onnx", "1/model.plan", "01/x", "2/model.py", "warmup/a", "model.onnx"]
)
MODELS = st.dictionaries(
    NAMES,
    st.tuples(CONFIGS, st.dictionaries(FILES, st.binary(max_size=30))),
    max_size=4,
)


def write(root, models):
    for name, (config, files) in models.items():
        (root / name).mkdir()
        for file, content in files.items():
            (root / name / file).parent.mkdir(exist_ok=True)
            (root / name / file).write_bytes(content)
        if config is not None:
            (root / name / "config.pbtxt").write_bytes(config)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    models=MODELS,
    strict=st.booleans(),
    gpus=st.integers(0, 3),
    server=st.sampled_from(["2.51", "26.06"]),
)
def test_any_repository_gets_a_report(tmp_path_factory, models, strict, gpus, server):
    root = tmp_path_factory.mktemp("any")
    write(root, models)

    report = check_repository(root, strict=strict, gpus=gpus, server=server)

    assert sorted(report.models) == sorted(models)
    for finding in report.findings:
        assert finding.message
        assert finding.severity in ("error", "warning")
        assert (finding.line == 0) == (finding.column == 0)
    assert json.loads(FORMATS["json"](report))["accepted"] is report.accepted
    assert FORMATS["text"](report).encode()
    assert FORMATS["github"](report).encode()


@pytest.mark.parametrize("kind", ["config.pbtxt", "1", "1/model.onnx"])
def test_a_dangling_link_is_a_finding_or_nothing(tmp_path, kind):
    path = tmp_path / "m" / kind
    path.parent.mkdir(parents=True)
    path.symlink_to(Path("/nowhere/at/all"))

    assert not check_repository(tmp_path, strict=True).accepted


def test_a_named_pipe_as_config_does_not_hang(tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    os.mkfifo(tmp_path / "m" / "config.pbtxt")

    assert check_repository(tmp_path).reason("m").rule == "F4"

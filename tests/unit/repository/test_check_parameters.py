"""Parameters and accelerators of the backends."""

import pytest

from onnx_builders import onnx_bytes
from triton_kit import check_repository

CONFIG = """\
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 3 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 3 ] } ]
"""
GPU = "instance_group [ { kind: KIND_GPU } ]\n"


@pytest.fixture
def findings(tmp_path):
    def run(more, config=CONFIG):
        (tmp_path / "m" / "1").mkdir(parents=True, exist_ok=True)
        model = onnx_bytes({"x": ["n", 3]}, {"y": ["n", 3]})
        (tmp_path / "m" / "1" / "model.onnx").write_bytes(model)
        (tmp_path / "m" / "config.pbtxt").write_text(config + more)
        report = check_repository(tmp_path, gpus=1)
        return {f.rule: f for f in report.findings}

    return run


def accelerator(name, field="gpu_execution_accelerator", **parameters):
    given = "".join(
        f'parameters {{ key: "{k}" value: "{v}" }} ' for k, v in parameters.items()
    )
    return (
        f"optimization {{ execution_accelerators {{ {field} "
        f'[ {{ name: "{name}" {given} }} ] }} }}'
    )


def parameter(name, value):
    return f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }}'


@pytest.mark.parametrize(
    ("text", "rule", "words", "hint"),
    [
        (accelerator("tensort"), "K13", "no accelerator 'tensort'", "'tensorrt'"),
        (
            accelerator("auto_mixed_precision"),
            "K13",
            "no accelerator",
            "of the tensorflow backend",
        ),
        (
            accelerator("tensorrt", trt_build_heuristics="1"),
            "K26",
            "no parameter 'trt_build_heuristics'",
            "trt_build_heuristics_enable",
        ),
        (
            accelerator("tensorrt", precision_mode="FP8"),
            "K26",
            "expected one of FP32, FP16, BF16, INT8",
            "write",
        ),
        (
            accelerator("tensorrt", trt_engine_cache_enable="yes"),
            "K26",
            "expected true or false",
            "write",
        ),
        (
            accelerator("tensorrt", max_workspace_size_bytes="1G"),
            None,
            "",
            "",
        ),
        (
            accelerator("tensorrt", max_workspace_size_bytes="G"),
            "K26",
            "expected a whole number",
            "write",
        ),
        (accelerator("cuda", anything="1"), None, "", ""),
        (parameter("intra_op_thread_count", "two"), "K26", "a whole number", "write"),
        (parameter("execution_mode", "2"), "K26", "one of 0, 1", "write"),
        (parameter("enable_mem_arena", "yes"), "K26", "true or false", "write"),
        (parameter("my_own", "anything"), None, "", ""),
    ],
)
def test_a_model_on_a_gpu_is_refused_for_what_the_backend_does_not_know(
    findings, text, rule, words, hint
):
    found = findings(GPU + text)

    if rule is None:
        assert found == {}
    else:
        assert found[rule].severity == "error"
        assert words in found[rule].message
        assert hint in found[rule].hint


def test_accelerators_of_the_gpu_are_not_read_on_the_cpu(findings):
    cpu = "instance_group [ { kind: KIND_CPU } ]\n"

    on_cpu = findings(cpu + accelerator("tensort"))
    own = findings(cpu + accelerator("openvno", "cpu_execution_accelerator"))

    assert on_cpu["K13"].severity == "warning"
    assert own["K13"].severity == "error"


def test_a_slip_in_a_parameter_is_a_warning(findings):
    found = findings(parameter("intra_op_threads_count", "2"))

    assert found["K26"].severity == "warning"
    assert "'intra_op_thread_count'" in found["K26"].hint


def test_other_backends_have_no_accelerators(findings):
    found = findings(accelerator("tensorrt"), CONFIG.replace("onnxruntime", "identity"))

    assert "ignored" in found["K13"].message

"""What the server accepts and is most likely not intended."""

import pytest

from triton_kit import check_repository

BASE = """\
backend: "identity"
input [ { name: "a" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "b" data_type: TYPE_FP32 dims: [ 4 ] } ]
"""


@pytest.fixture
def warnings(tmp_path):
    """The rules of the warnings about one config with these folders."""

    def check(config, *folders, **options):
        (tmp_path / "m" / "1").mkdir(parents=True, exist_ok=True)
        for name in folders:
            (tmp_path / "m" / name).mkdir(parents=True)
        (tmp_path / "m" / "config.pbtxt").write_text(config)
        report = check_repository(tmp_path, **options)
        assert report.accepted, report.errors
        return {f.rule: f for f in report.warnings}

    return check


@pytest.mark.parametrize(
    ("rule", "more"),
    [
        ("K1", 'input [ { name: "a" data_type: TYPE_FP32 dims: [ 4 ] } ]'),
        ("K2", 'instance_group [ { name: "g" }, { name: "g" } ]'),
        ("K3", "dynamic_batching { }"),
        ("K4", "sequence_batching { }"),
        ("K5", "sequence_batching { oldest { } }"),
        ("K6", "dynamic_batching { priority_queue_policy { key: 1 value { } } }"),
        ("K7", 'input [ { name: "z" data_type: 99 dims: [ 4 ] } ]'),
        ("K31", 'parameters { key: "triton_kit.calls" value { string_value: "n" } }'),
        ("K10", "instance_group [ { count: -1 } ]"),
        ("K11", 'instance_group [ { host_policy: "p" } ]'),
        ("K12", 'instance_group [ { rate_limiter { resources { name: "r" } } } ]'),
        (
            "K13",
            "optimization { execution_accelerators { gpu_execution_accelerator { name: "
            '"tensort" } } }',
        ),
        ("K17", "response_cache { enable: true }"),
    ],
)
def test_an_odd_config_is_warned_of(warnings, rule, more):
    finding = warnings(BASE + more)[rule]

    assert finding.server_text == ""
    assert finding.line == 4


def test_the_sequence_batcher_keeps_state_of_a_model_that_does_not_batch(warnings):
    state = (
        'state { input_name: "s" output_name: "t" data_type: TYPE_FP32 dims: [ 1 ] '
        'initial_state { data_type: TYPE_FP32 dims: [ 1 ] zero_data: true name: "z" } }'
    )

    assert "K4" not in warnings(f"{BASE}sequence_batching {{ {state} }}")


def test_a_plain_config_has_no_warnings(warnings):
    assert warnings(BASE) == {}


def test_missing_tensors_are_read_by_some_backends_only(warnings):
    assert "K9" in warnings('backend: "identity"')
    assert "K8" in warnings('backend: "pytorch"')
    assert "K9" in warnings('backend: "pytorch"', strict=True)


def test_a_backend_of_another_container_is_named(warnings):
    found = warnings(BASE.replace("identity", "vllm"))

    assert "vllm-python-py3" in found["K14"].hint


def test_a_backend_that_needs_a_gpu_is_named(warnings):
    config = BASE.replace("identity", "tensorrt")

    assert "K15" in warnings(config)
    assert "K15" not in warnings(config, gpus=1)


def test_a_missing_model_file_is_named(warnings):
    found = warnings(BASE.replace("identity", "onnxruntime"))

    assert "version 1 has no model.onnx" in found["K16"].message


def test_folders_that_are_no_versions_are_named(warnings):
    found = warnings(BASE, "assets", "configs", "warmup")

    assert [f.path.name for f in found.values()] == ["assets"]


def test_a_folder_that_the_server_reads_as_another_version_is_named(warnings):
    found = warnings(BASE, "2nd")

    assert "takes the folder 2nd for version 2" in found["K19"].message


def test_a_variable_in_a_text_is_named(warnings):
    found = warnings(
        BASE + '# ${A}\nparameters { key: "k" value { string_value: "${B}" } }'
    )

    assert found["K23"].message.startswith("${B} was not filled in")
    assert (found["K23"].line, found["K23"].column) == (5, 46)


def test_a_config_by_a_wrong_name_is_named(tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "model.pt").write_text("x")
    (tmp_path / "m" / "config.pbtext").write_text(BASE)

    report = check_repository(tmp_path)

    assert "K22" in [finding.rule for finding in report.warnings]


def test_labels_are_counted(warnings, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "l.txt").write_text("one\ntwo\n")
    labelled = BASE.replace('name: "b"', 'name: "b" label_filename: "l.txt"')

    assert "l.txt has 2 labels for 4 values of 'b'" in warnings(labelled)["K24"].message


@pytest.mark.parametrize(
    ("folder", "hint"),
    [("group/m", "it holds models itself (m)"), (".cache/x", "move it elsewhere")],
)
def test_a_folder_that_is_no_model_gets_its_reason(tmp_path, folder, hint):
    (tmp_path / folder).mkdir(parents=True)
    if "group" in folder:
        (tmp_path / folder / "config.pbtxt").write_text(BASE)

    report = check_repository(tmp_path)

    assert hint in report.errors[0].hint


def test_one_word_is_enough_about_a_hidden_folder(tmp_path):
    (tmp_path / ".git" / "hooks").mkdir(parents=True)

    assert [finding.model for finding in check_repository(tmp_path).findings] == [
        ".git"
    ]


ON_GPU = """\
backend: "tensorrt"
max_batch_size: 8
input [ { name: "a" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "b" data_type: TYPE_FP32 dims: [ 4 ] } ]
dynamic_batching { preferred_batch_size: [ 4, 8 ] }
"""
WARM = """model_warmup {{ name: "{0}" batch_size: {0} inputs {{ key: "a" value {{
data_type: TYPE_FP32 dims: [ 4 ] zero_data: true }} }} }}
"""
CPU = "instance_group { kind: KIND_CPU }"
SIZES = 'parameters { key: "cuda_batch_sizes" value { string_value: "1,8" } }'


@pytest.mark.parametrize(
    ("more", "missing"),
    [("", "4, 8"), (WARM.format(4), "8"), (WARM.format(4) + WARM.format(8), None)],
)
def test_a_gpu_model_that_batches_needs_a_warmup_of_its_sizes(warnings, more, missing):
    finding = warnings(ON_GPU + more, gpus=1).get("K30")

    assert (finding is None) == (missing is None)
    if finding is not None:
        assert f"no warm-up has batch size {missing}:" in finding.message
        assert "batch_sizes: preferred" in finding.hint


@pytest.mark.parametrize(
    ("config", "gpus"),
    [
        (ON_GPU.replace("tensorrt", "onnxruntime"), 0),
        (ON_GPU.replace("tensorrt", "onnxruntime") + CPU, 1),
        (ON_GPU.replace("tensorrt", "pytorch"), 1),
        (ON_GPU.replace("tensorrt", "onnxruntime") + SIZES, 1),
        (ON_GPU.partition("dynamic")[0], 1),
    ],
)
def test_other_models_need_no_warmup(warnings, config, gpus):
    assert "K30" not in warnings(config, gpus=gpus)

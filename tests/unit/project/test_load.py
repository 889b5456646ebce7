"""triton-kit.yaml: what it means, and what is said when it cannot be."""

import re
import time
from pathlib import Path

import pytest

from triton_kit.errors import SpecError
from triton_kit.project.fields import config_fields
from triton_kit.project.load import load_project
from triton_kit.project.schema import project_schema
from triton_kit.project.spec import ModelSpec


@pytest.fixture
def project(tmp_path):
    def write(text):
        (tmp_path / "triton-kit.yaml").write_text(text)
        return tmp_path

    return write


def refusal(folder, **options):
    with pytest.raises(SpecError) as caught:
        load_project(folder, **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


MODEL = "name: p\nmodels:\n  m:\n    source: m.onnx\n"


def test_the_digits_project_loads_from_its_folder_or_its_file(digits):
    from_folder = load_project(digits)
    from_file = load_project(digits / "triton-kit.yaml")

    assert from_folder == from_file
    assert list(from_folder.spec.models) == ["digits", "decode"]
    assert from_folder.target == "local"


def test_a_missing_project_says_how_to_start_one(tmp_path):
    assert "triton-kit new digits" in refusal(tmp_path)


def test_a_model_may_take_the_keys_of_others(project):
    text = MODEL + (
        "  a: &a {source: a.onnx, opset: 17, precision: fp16}\n"
        "  b: &b {source: b.onnx, opset: 18, simplify: false}\n"
        "  c: {<<: [*a, *b], source: c.onnx}\n"
    )

    model = load_project(project(text)).spec.models["c"]

    assert (model.source, model.opset) == ("c.onnx", 17)
    assert (model.precision, model.simplify) == ("fp16", False)


def test_a_mistake_beside_a_merge_is_found_with_its_line(project):
    text = MODEL + "  a: &a {source: a.onnx}\n  b:\n    <<: *a\n    sorce: b\n"

    assert "triton-kit.yaml:8: unknown key 'sorce'" in refusal(project(text))


def test_a_file_that_is_nested_too_deeply_is_refused(project):
    deep = "name: p\nmodels: " + "[" * 3000 + "]" * 3000

    assert "nested too deeply" in refusal(project(deep))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (MODEL + "    sorce: x\n", 5, "did you mean 'source'?"),
        (MODEL + "modles: {}\n", 5, "did you mean 'models'?"),
        (MODEL + "    batching: {max_batch_size: 0}\n", 5, "than or equal to 1"),
        (MODEL + "    batching: {max_batch_size: x}\n", 5, "got 'x'"),
        (MODEL + "    batching: {max_batch_sise: 1}\n", 5, "mean 'max_batch_size'?"),
        (MODEL + "    instances:\n    - knd: cpu\n", 6, "did you mean 'kind'?"),
        (MODEL + "\tinputs: {}\n", 5, "replace the tab by spaces"),
        (MODEL + "    source: n.onnx\n", 5, "'source' is there twice"),
        (MODEL.replace("m:", "a/b:"), 3, "models.a/b: expected a name of letters"),
        (MODEL + "    inputs: {x: {min: [1]}}\n", 5, "needed together"),
        (
            MODEL + "    inputs: {x: {min: [2], opt: [1], max: [3]}}\n",
            5,
            "1 <= min <= opt <= max",
        ),
        (
            MODEL + "    batching: {max_batch_size: 4, preferred: [8]}\n",
            5,
            "preferred [8] exceed max_batch_size 4",
        ),
        (MODEL + "    config: &a [*a]\n", 5, "refers to itself"),
        (MODEL + "targets: {t: {triton: '24.13'}}\n", 5, "unknown Triton release"),
        (MODEL + "targets: {t: {compute_capability: sm90}}\n", 5, "pattern"),
        (MODEL + "    config: ]\n", 5, "not YAML"),
        (MODEL + "    <<: 3\n", 4, "'<<' takes a mapping"),
        (MODEL + "    config: &a {<<: *a}\n", 5, "refers to itself"),
        (MODEL + "    verify: {min_snr_db: -.inf}\n", 5, "a finite number, got -inf"),
        (MODEL + "    ranges: {x: [0, .nan]}\n", 5, "a finite number, got nan"),
        (MODEL.replace("m.onnx", "${NOPE}"), 4, "NOPE is not set"),
        (
            MODEL + "tests:\n  t: {model: m, inputs: {}, outputs: {y: 1}}\n",
            6,
            "tests.t.inputs: expected arrays by tensor, such as {x: [1, 2]}, or the "
            "path of an .npz file, got {}",
        ),
        (
            MODEL + "tests: {t: {model: m, inputs: a.npz, outputs: [1]}}\n",
            5,
            "tests.t.outputs: expected arrays by tensor",
        ),
        ("name: p\nmodels: {m: {}}\n", 2, "models.m.source is missing"),
        (MODEL + "    instances: 2\n", 5, "instances: expected a list, such as [a, b]"),
        (MODEL + "    batching: 8\n", 5, "batching: expected a mapping, such as {key"),
        (MODEL + "    max_batch_size: 8\n", 5, "mean batching: {max_batch_size: ...}?"),
        (MODEL + "    dynamic_batching: {}\n", 5, "did you mean 'batching'?"),
        (MODEL + "    versions: 3\n", 5, "versions: expected 'all' or a mapping"),
        (MODEL + "    parameters: {a: {}}\n", 5, "parameters.a: expected text or a"),
        (MODEL + "targets: {t: {triton: 26.06}}\n", 5, "text in quotes, such as"),
        (
            MODEL + "loads: {l: {model: m, batch_size: x}}\n",
            5,
            "batch_size: expected a",
        ),
        (MODEL + "  n:\n", 5, "models.n: expected a mapping, such as {key: value}"),
        (
            MODEL + "tests:\n  t:\n    inputs: a\n    outputs: a\n    model: mm\n",
            9,
            "test 't' is for 'mm', which is not there: m",
        ),
        ("name: p\nmodels: {}\n", 2, "at least 1 item"),
    ],
)
def test_a_mistake_is_found_with_its_line(project, text, line, words):
    said = refusal(project(text), env={})

    assert f"triton-kit.yaml:{line}" in said
    assert words in said


@pytest.mark.parametrize("text", ["", "- a\n", "just words", "\x00", "a: b: c"])
def test_what_is_no_mapping_is_refused(project, text):
    assert "triton-kit.yaml" in refusal(project(text))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "triton-kit.yaml").write_bytes(b"name: \xff\xfe")

    assert "not a UTF-8 text" in refusal(tmp_path)


def test_variables_come_from_the_environment_or_their_default(project):
    text = MODEL.replace("m.onnx", "${DIR:-models}/m.onnx") + (
        "    batching: {max_batch_size: '${BATCH}'}\n"
    )

    spec = load_project(project(text), env={"BATCH": "16"}).spec

    assert spec.models["m"].source == "models/m.onnx"
    assert spec.models["m"].batching.max_batch_size == 16


def test_a_value_that_begins_another_does_not_uncover_its_end(project):
    env = {"BEGIN": "hunter22", "WHOLE": "hunter22-and-more"}
    text = "name: ${BEGIN}\nmodels:\n  m: {source: m.onnx, instances: '${WHOLE}'}\n"

    with pytest.raises(SpecError) as caught:
        load_project(project(text), env=env)

    assert "hunter22" not in caught.value.message
    assert "-and-more" not in caught.value.message


def test_a_target_changes_fields_of_a_model(project):
    folder = project(
        MODEL + "    instances: [{kind: cpu}]\n"
        "targets:\n  cpu: {}\n  gpu:\n    models: {m: {instances: [{kind: gpu}]}}\n"
    )

    kinds = {
        target: load_project(folder, target=target).spec.models["m"].instances[0].kind
        for target in ("cpu", "gpu")
    }

    assert kinds == {"cpu": "cpu", "gpu": "gpu"}


def test_a_mistake_in_a_target_is_placed_in_the_target(project):
    folder = project(
        MODEL + "    instances: [{kind: cpu}]\n"
        "targets:\n  gpu:\n    models: {m: {instances: [{kind: tpu}]}}\n"
    )

    assert "triton-kit.yaml:8" in refusal(folder)


def test_an_unknown_target_gets_the_nearest_name(digits):
    assert "did you mean 'local'?" in refusal(digits, target="locl")


def test_a_target_that_changes_an_absent_model_is_refused(project):
    folder = project(MODEL + "targets: {t: {models: {n: {}}}}\n")

    assert "changes model 'n', which is not there" in refusal(folder)


def test_short_forms_become_config_fields(project):
    folder = project(
        MODEL + "    batching:\n      max_batch_size: 8\n      preferred: [4]\n"
        "      priority_levels: 2\n      default_priority: 1\n"
        "      queue: {timeout_us: 100, timeout_action: delay}\n"
        "      queue_by_priority: {2: {max_size: 3}}\n"
        "    instances: [{kind: gpu, count: 2, gpus: [0, 1]}]\n"
        "    config: {dynamic_batching: {preserve_ordering: true}, backend: x}\n"
    )

    assert config_fields(load_project(folder).spec.models["m"]) == {
        "max_batch_size": 8,
        "dynamic_batching": {
            "preferred_batch_size": [4],
            "priority_levels": 2,
            "default_priority_level": 1,
            "default_queue_policy": {
                "timeout_action": "DELAY",
                "default_timeout_microseconds": 100,
            },
            "priority_queue_policy": {
                "2": {"timeout_action": "REJECT", "max_queue_size": 3}
            },
            "preserve_ordering": True,
        },
        "instance_group": [{"kind": "KIND_GPU", "count": 2, "gpus": [0, 1]}],
        "backend": "x",
    }


def test_every_key_of_a_model_is_in_the_docs():
    docs = (Path(__file__).parents[3] / "docs" / "build.md").read_text()

    missing = [key for key in ModelSpec.model_fields if f"`{key}" not in docs]

    assert [key for key in missing if f".{key}`" not in docs] == []


def bomb(levels):
    lists = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for n in range(1, levels):
        lists.append(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]")
    return "\n".join(lists)


def test_aliases_that_multiply_are_refused_with_their_line(project):
    """1.5 kB of them held 1.4 GB, and loading did not end."""
    folder = project(bomb(12))
    began_s = time.monotonic()

    assert re.search(
        r"triton-kit.yaml:\d+: more than 100000 values, each alias", refusal(folder)
    )
    assert time.monotonic() - began_s < 10


def test_anchors_may_stand_in_keys_of_their_own(project):
    folder = project(
        "name: p\n"
        "x-common: &common\n"
        "  batching: {max_batch_size: 4}\n"
        "models:\n"
        "  a: &a {<<: *common, source: a.onnx}\n"
        "  b: {<<: *a, batching: {max_batch_size: 8}}\n"
    )

    models = load_project(folder).spec.models

    assert [(m.source, m.batching.max_batch_size) for m in models.values()] == [
        ("a.onnx", 4),
        ("a.onnx", 8),
    ]
    assert "^x-" in project_schema()["patternProperties"]


def test_merge_keys_that_multiply_are_refused(project):
    lines = ["m0: &m0 {a: 1, b: 2}"]
    for n in range(1, 40):
        lines.append(f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}, *m{n - 1}], c{n}: 1}}")

    assert "more than 100000 values" in refusal(project("\n".join(lines)))


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_nesting_is_refused_at_once(project, opening):
    """5000 brackets took PyYAML two seconds, 16000 more than ten."""
    folder = project("models: " * (opening != "- ") + opening * 100_000)
    began_s = time.monotonic()

    assert "triton-kit.yaml" in refusal(folder)
    assert time.monotonic() - began_s < 5


def test_a_project_file_that_does_not_end_is_refused(tmp_path):
    (tmp_path / "triton-kit.yaml").write_text("#" * (2 << 20))

    assert "larger than 1 MiB" in refusal(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        MODEL + "    batching: {max_batch_size: '${TOKEN}'}\n",
        MODEL + "    '${TOKEN}': 1\n    precision: ${TOKEN}\n",
        MODEL + "    batching: {max_batch_size: !!int '${TOKEN}'}\n",
    ],
)
def test_no_message_has_the_value_of_a_variable(project, text):
    env = {"TOKEN": "hunter2-secret"}

    assert "hunter2" not in refusal(project(text), env=env)


@pytest.mark.parametrize("asked", ["environment", "requirements", "python"])
@pytest.mark.parametrize("inherited", ["environment", "requirements", "python"])
def test_the_environment_of_a_target_replaces_the_inherited_one(
    project, asked, inherited
):
    override = f"targets:\n  a: {{models: {{m: {{{asked}: mine}}}}}}\n  b: {{}}\n"
    folder = project(MODEL + f"    {inherited}: base\n" + override)

    for target, expected in {"a": {asked: "mine"}, "b": {inherited: "base"}}.items():
        model = load_project(folder, target=target).spec.models["m"]
        keys = ("environment", "requirements", "python")
        assert {k: v for k in keys if (v := getattr(model, k))} == expected


def test_a_target_that_removes_an_environment_keeps_the_requirements(project):
    override = "targets:\n  a: {models: {m: {environment: null}}}\n"
    folder = project(MODEL + "    requirements: base\n" + override)

    assert load_project(folder, target="a").spec.models["m"].requirements == "base"


BATCHES = "    batching: {max_batch_size: 4, preferred: [2]}\n"


@pytest.mark.parametrize(
    ("asked", "sizes"),
    [("preferred", (1, 2, 4)), ("all", (1, 2, 3, 4)), ("[3, 1, 3]", (3, 1))],
)
def test_one_warmup_of_many_batch_sizes_needs_no_list(project, asked, sizes):
    text = f"{MODEL}{BATCHES}    warmup: {{batch_sizes: {asked}}}\n"

    model = load_project(project(text)).spec.models["m"]

    [warmup] = model.warmup
    assert warmup.sizes(model.batching) == sizes


@pytest.mark.parametrize(
    ("batching", "warmup", "words"),
    [
        ("", "{batch_sizes: all}", "batch_sizes are for models with batching"),
        (BATCHES, "{batch_sizes: some}", "got 'some'"),
        (BATCHES, "{batch_size: 2, batch_sizes: all}", "either batch_size or"),
        (BATCHES, "{batch_sizes: [0]}", "expected preferred, all, or [1, ...]"),
        (BATCHES, "{sizes: all}", "unknown key 'sizes'"),
    ],
)
def test_a_warmup_that_cannot_be_is_refused_with_its_line(
    project, batching, warmup, words
):
    message = refusal(project(f"{MODEL}{batching}    warmup: {warmup}\n"))

    assert words in message
    assert "triton-kit.yaml:" in message

"""Settings into triton-kit.yaml: keys change, all other text stays as it is."""

import pytest

from triton_kit.errors import SpecError
from triton_kit.project.load import load_project
from triton_kit.repository.config.parse import parse
from triton_kit.tuning.patch import apply_patch, make_patch
from triton_kit.tuning.written_configs import write_winner, written_configs

CONFIG = {
    "max_batch_size": 64,
    "dynamic_batching": {"max_queue_delay_microseconds": "200"},
    "instance_group": [{"kind": "KIND_CPU", "count": 1}],
}
CONFIGS = {"digits": CONFIG, "decode": CONFIG, "read_digit": {"platform": "ensemble"}}
SETTINGS = {
    "digits": {"instances": 2, "max_batch_size": 32, "threads": 1},
    "decode": {"queue_delay_us": None},
}


def test_keys_keep_what_the_project_says_beside_the_settings(digits):
    patch = make_patch(CONFIGS, SETTINGS, load_project(digits))

    assert patch["models"]["digits"] == {
        "instances": [{"kind": "cpu", "count": 2}],
        "batching": {
            "max_batch_size": 32,
            "preferred": [8, 16, 32],
            "max_queue_delay_us": 200,
        },
        "parameters": {"intra_op_thread_count": "1"},
    }
    assert patch["models"]["decode"] == {
        "batching": {"max_batch_size": 64, "dynamic": False}
    }


def test_without_a_project_the_keys_are_those_of_the_served_model():
    patch = make_patch(CONFIGS, {"digits": {"max_batch_size": 8}}, None)

    assert patch["models"]["digits"] == {
        "batching": {"max_batch_size": 8, "max_queue_delay_us": 200}
    }


def test_a_field_by_its_path_goes_into_config():
    settings = {"digits": {"optimization.priority": "PRIORITY_MAX"}}

    assert make_patch(CONFIGS, settings, None)["models"]["digits"] == {
        "config": {"optimization": {"priority": "PRIORITY_MAX"}}
    }


@pytest.mark.parametrize(
    ("own", "kept"), [("", {}), ("instance_group { gpus: [ 1 ] }", {"gpus": [1]})]
)
def test_an_item_by_its_path_has_no_gpu_that_the_server_filled_in(tmp_path, own, kept):
    group = {"name": "m_0", "kind": "KIND_GPU", "count": 1, "gpus": [1]}
    served = {"m": {"backend": "python", "instance_group": [group]}}
    settings = {"m": {"instance_group.0.count": 2}}
    text = f'backend: "python"\n{own}\n'
    (tmp_path / "m").mkdir()
    (tmp_path / "m/config.pbtxt").write_text(text)
    written = written_configs(tmp_path, settings)

    patch = make_patch(served, settings, None, written=written)
    write_winner(tmp_path, tmp_path / "best", served, settings, {})

    [found] = patch["models"]["m"]["config"]["instance_group"]
    assert found["count"] == 2
    assert {k: v for k, v in found.items() if k in ("gpus", "name")} == kept
    config = parse((tmp_path / "best/m/config.pbtxt").read_bytes()).config
    assert config.instance_group[0].count == 2
    assert list(config.instance_group[0].gpus) == kept.get("gpus", [])


def test_the_file_keeps_its_comments_and_means_the_settings(digits):
    file = digits / "triton-kit.yaml"
    before = file.read_text()
    project = load_project(digits)
    patch = make_patch(CONFIGS, SETTINGS, project)

    apply_patch(project, file, patch)

    after = file.read_text()
    spec = load_project(digits).spec
    assert spec.models["digits"].instances[0].count == 2
    assert spec.models["digits"].batching.max_batch_size == 32
    assert spec.models["digits"].parameters == {"intra_op_thread_count": "1"}
    assert spec.models["decode"].batching.dynamic is False
    comments = [line for line in before.splitlines() if "#" in line]
    assert comments == [line for line in after.splitlines() if "#" in line]
    changed = set(after.splitlines()) ^ set(before.splitlines())
    assert len(changed) == 6, changed


def test_a_key_that_the_target_sets_is_changed_there(digits):
    file = digits / "triton-kit.yaml"
    project = load_project(digits, target="gpu")
    patch = make_patch(CONFIGS, {"digits": {"instances": 3}}, project)

    apply_patch(project, file, patch)

    def count(target):
        return (
            load_project(digits, target=target).spec.models["digits"].instances[0].count
        )

    assert (count("gpu"), count("local")) == (3, 1)


def test_block_style_values_are_replaced(digits):
    file = digits / "triton-kit.yaml"
    flow = "instances: [{kind: cpu, count: 1}]\n\n  # PNG"
    block = "instances:\n      - kind: cpu  # on the CPU\n        count: 1\n\n  # PNG"
    assert flow in file.read_text()
    file.write_text(file.read_text().replace(flow, block))
    project = load_project(digits)
    patch = make_patch(CONFIGS, {"digits": {"instances": 2}}, project)

    apply_patch(project, file, patch)

    assert load_project(digits).spec.models["digits"].instances[0].count == 2
    assert "# PNG bytes -> image tensor" in file.read_text()


def test_a_file_that_would_mean_something_else_stays_as_it_is(digits):
    file = digits / "triton-kit.yaml"
    text = file.read_text().replace(
        "instances: [{kind: cpu, count: 1}]",
        "instances: &one [{kind: cpu, count: 1}]",
        1,
    )
    head, _, tail = text.rpartition("instances: [{kind: cpu, count: 1}]")
    text = f"{head}instances: *one{tail}"
    file.write_text(text)
    project = load_project(digits)
    patch = make_patch(CONFIGS, {"decode": {"instances": 2}}, project)

    with pytest.raises(SpecError, match="cannot be written into this file") as error:
        apply_patch(project, file, patch)

    assert "by hand" in error.value.hint
    assert file.read_text() == text

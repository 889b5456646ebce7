"""Models that name a GPU which a trial lacks are found before a server starts."""

import pytest

from triton_kit.errors import SpecError
from triton_kit.tuning.named_gpus import require_named_gpus
from triton_kit.tuning.written_configs import config_check

ON_GPU = "instance_group {{ kind: KIND_GPU gpus: [ {} ] }}\n"
ENSEMBLE = """platform: "ensemble"
ensemble_scheduling { step { model_name: "inner" } }
"""
OUTER = 'platform: "ensemble"\nensemble_scheduling { step { model_name: "steps" } }\n'


@pytest.fixture
def repository(tmp_path):
    configs = {
        "first": ON_GPU.format(0),
        "inner": "instance_group { kind: KIND_CPU }\n" + ON_GPU.format("0, 2"),
        "steps": ENSEMBLE,
        "outer": OUTER,
        "free": "instance_group { kind: KIND_GPU }\n",
    }
    for name, text in configs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.pbtxt").write_text(text)
    (tmp_path / "bare").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("models", "count"), [(["first", "free", "bare"], 1), (["outer", "first"], 3)]
)
def test_gpus_that_a_trial_has_may_be_named(repository, models, count):
    require_named_gpus(repository, models, count)


@pytest.mark.parametrize("models", [["inner"], ["outer"], ["first", "inner"]])
def test_other_gpus_are_refused_with_the_model_that_names_them(repository, models):
    with pytest.raises(SpecError, match=r"'inner': .* GPU 2: .* 2 GPUs") as caught:
        require_named_gpus(repository, models, 2)

    assert "--gpus-per-trial 3" in caught.value.hint


def test_settings_that_name_a_gpu_which_a_trial_lacks_are_not_tried(tmp_path):
    repository, folder = tmp_path / "models", tmp_path / "check"
    (repository / "m" / "1").mkdir(parents=True)
    (repository / "m" / "1" / "model.py").touch()
    folder.mkdir()

    def on(gpu):
        group = {"kind": "KIND_GPU", "count": 1, "gpus": [gpu]}
        fields = {"backend": "python", "max_batch_size": 1}
        tensor = {"name": "x", "data_type": "TYPE_FP32", "dims": [1]}
        tensors = {"input": [tensor], "output": [{**tensor, "name": "y"}]}
        return {"m": {"name": "m", **fields, **tensors, "instance_group": [group]}}

    check = config_check(repository, on(0), folder, gpus=2)

    assert not check(on(1))
    assert "gpu id 2" in check(on(2))

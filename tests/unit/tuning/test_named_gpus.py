"""Models that name a GPU which a trial lacks are found before a server starts."""

import pytest

from triton_kit.errors import SpecError
from triton_kit.tuning.named_gpus import require_named_gpus

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

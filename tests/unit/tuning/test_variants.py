"""Precision and builder options in the space: what is refused before it is tried."""

import pytest

from triton_kit.errors import SpecError
from triton_kit.project.load import load_project
from triton_kit.tuning.model_fields import with_settings
from triton_kit.tuning.patch import apply_patch, make_patch
from triton_kit.tuning.subject import Subject
from triton_kit.tuning.usual_space import make_space
from triton_kit.tuning.variants import Variants

CONFIG = {"name": "digits", "backend": "onnxruntime", "max_batch_size": 64}
MODEL = Subject(model="digits", configs={"digits": CONFIG})


@pytest.fixture
def variants(digits, tmp_path):
    def make(target=None):
        return Variants(
            project=load_project(digits, target=target),
            repository=tmp_path / "models",
            scratch=tmp_path / "work",
        )

    return make


def space_of(variants, *given):
    return make_space(MODEL, given, variants=variants)


def test_a_precision_without_its_calibration_is_never_tried(variants):
    space = space_of(variants(), "precision=fp32,fp16,int8")

    assert [point[0] for point in space.points()] == ["fp32", "fp16"]
    assert "needs calibration samples" in space.why_illegal({"precision": "int8"})


def test_builder_options_are_of_a_plan(variants):
    words = ("builder.optimization_level=1,3,5", "precision=fp16,fp32")
    space = space_of(variants("gpu"), *words)

    assert [field.default for field in space.fields[:2]] == [None, "fp16"]
    assert len(list(space.points())) == 6


@pytest.mark.parametrize(
    ("target", "given", "text"),
    [
        ("local", "builder.optimization_level=1,3", "target 'local' is onnx"),
        ("gpu", "builder.optimisation=1,3", "optimisation"),
        ("gpu", "builder.optimization_level=1,99", "optimization_level"),
        ("local", "precision=fp32,f16", "no precision 'f16'"),
        ("local", "precision=fp32,int8", "nothing legal in it"),
    ],
)
def test_what_cannot_be_converted_is_refused_at_once(variants, target, given, text):
    with pytest.raises(SpecError, match=text):
        space_of(variants(target), given)


def test_a_model_that_is_not_converted_has_no_precision(variants):
    subject = Subject(model="decode", configs={"decode": CONFIG})

    with pytest.raises(SpecError, match="the project does not convert 'decode'"):
        make_space(subject, ["precision=fp32,fp16"], variants=variants())


def test_a_repository_alone_has_no_precision():
    with pytest.raises(SpecError, match="only a project on a server of the kit"):
        make_space(MODEL, ["precision=fp32,fp16"])


def test_a_precision_goes_into_the_project_with_its_floor(digits):
    settings = {"digits": {"precision": "fp16", "builder.optimization_level": 5}}
    project = load_project(digits, target="gpu")

    patch = make_patch({"digits": CONFIG}, settings, project, {"min_snr_db": 50.0})
    apply_patch(project, digits / "triton-kit.yaml", patch)

    changed = load_project(digits, target="gpu").spec.models["digits"]
    assert patch["models"]["digits"] == {
        "precision": "fp16",
        "builder": {"optimization_level": 5},
        "verify": {"min_snr_db": 50.0},
    }
    assert changed.precision == "fp16"
    assert with_settings("digits", CONFIG, settings["digits"]) == CONFIG

"""Pipelines: models wired by tensor names, every edge checked."""

import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig

from triton_kit.errors import SpecError
from triton_kit.repository.generate.pipeline import Step, ensemble_config


def model(name, *, batch=8, inputs, outputs):
    config = ModelConfig(name=name, backend="python", max_batch_size=batch)
    for kind, tensors in (("input", inputs), ("output", outputs)):
        for tensor, (dtype, dims) in tensors.items():
            getattr(config, kind).add(name=tensor, data_type=dtype, dims=dims)
    return config


CONFIGS = {
    "decode": model(
        "decode",
        inputs={"png": ("TYPE_STRING", [1])},
        outputs={"image": ("TYPE_FP32", [1, 8, 8]), "size": ("TYPE_INT32", [2])},
    ),
    "digits": model(
        "digits",
        batch=4,
        inputs={"image": ("TYPE_FP32", [1, 8, 8])},
        outputs={"scores": ("TYPE_FP32", [10])},
    ),
    "single": model(
        "single",
        batch=0,
        inputs={"image": ("TYPE_FP32", [-1, 1, 8, 8])},
        outputs={"scores": ("TYPE_FP32", [-1, 10])},
    ),
}
DECODE = Step(model="decode", inputs={"png": "png"}, outputs={"image": "image"})
DIGITS = Step(model="digits", inputs={"image": "image"}, outputs={"scores": "scores"})


def wire(*steps, outputs=("scores",)):
    return ensemble_config("p", steps=steps, outputs=outputs, configs=CONFIGS)


def test_a_pipeline_takes_its_tensors_from_its_models():
    config = wire(DECODE, DIGITS)

    assert config.platform == "ensemble"
    assert config.max_batch_size == 4
    assert [(t.name, list(t.dims)) for t in config.input] == [("png", [1])]
    assert [(t.name, list(t.dims)) for t in config.output] == [("scores", [10])]
    assert [s.model_name for s in config.ensemble_scheduling.step] == [
        "decode",
        "digits",
    ]


def test_a_model_without_batching_makes_the_pipeline_show_whole_shapes():
    single = Step(model="single", inputs=DIGITS.inputs, outputs=DIGITS.outputs)

    config = wire(DECODE, single)

    assert config.max_batch_size == 0
    assert [list(t.dims) for t in config.input] == [[-1, 1]]
    assert [list(t.dims) for t in config.output] == [[-1, 10]]


def step(base, **changes):
    return Step(
        model=changes.get("model", base.model),
        inputs=changes.get("inputs", base.inputs),
        outputs=changes.get("outputs", base.outputs),
    )


@pytest.mark.parametrize(
    ("steps", "outputs", "words"),
    [
        ([DECODE, step(DIGITS, model="digit")], ["scores"], "did you mean 'digits'?"),
        (
            [step(DECODE, inputs={"pgn": "png"}), DIGITS],
            ["scores"],
            "has no input 'pgn'",
        ),
        (
            [step(DECODE, inputs={"png": "png", "x": "x"}), DIGITS],
            ["scores"],
            "has no input 'x'",
        ),
        (
            [step(DECODE, outputs={"imge": "image"}), DIGITS],
            ["scores"],
            "did you mean 'image'?",
        ),
        (
            [DECODE, DECODE, DIGITS],
            ["scores"],
            "'image' can appear in an output map only once",
        ),
        ([DECODE, DIGITS], ["score"], "no step writes the output 'score'"),
        (
            [step(DECODE, outputs={"image": "image", "size": "size"}), DIGITS],
            ["scores"],
            "'size' is unused in ensemble 'p'",
        ),
        (
            [step(DECODE, outputs={"size": "image"}), DIGITS],
            ["scores"],
            "inconsistent data type: TYPE_INT32 is inferred from model decode",
        ),
        ([step(DIGITS, outputs={"scores": "image"})], ["image"], "waits for itself"),
    ],
)
def test_a_bad_edge_is_refused_by_name(steps, outputs, words):
    with pytest.raises(SpecError) as caught:
        wire(*steps, outputs=outputs)

    assert words in str(caught.value)


def test_models_that_wait_for_each_other_are_refused():
    loop = model(
        "loop",
        inputs={"a": ("TYPE_FP32", [1])},
        outputs={"b": ("TYPE_FP32", [1])},
    )
    steps = [
        Step(model="loop", inputs={"a": "x"}, outputs={"b": "y"}),
        Step(model="loop", inputs={"a": "y"}, outputs={"b": "x"}),
    ]

    with pytest.raises(SpecError, match="waits for itself"):
        ensemble_config("p", steps=steps, outputs=["y"], configs={"loop": loop})

"""Fields of configurations, the space of a model, and what is legal in it."""

import pytest

from triton_kit.errors import SpecError
from triton_kit.tuning.model_fields import instance_total, read_field, with_settings
from triton_kit.tuning.subject import Subject
from triton_kit.tuning.usual_space import make_space

CONFIG = {
    "name": "m",
    "backend": "onnxruntime",
    "max_batch_size": 16,
    "instance_group": [{"count": 1, "kind": "KIND_CPU"}],
    "dynamic_batching": {
        "preferred_batch_size": [4, 8],
        "max_queue_delay_microseconds": "200",
    },
    "parameters": {"mode": {"string_value": "fast"}},
}
MODEL = Subject(model="m", configs={"m": CONFIG})


def pipeline():
    step = {"model_name": "m", "model_version": "-1"}
    outer = {
        "platform": "ensemble",
        "max_batch_size": 8,
        "ensemble_scheduling": {"step": [step, {"model_name": "n"}]},
    }
    return Subject(
        model="p", configs={"p": outer, "m": CONFIG, "n": CONFIG | {"name": "n"}}
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("instances", 3),
        ("max_batch_size", 64),
        ("preferred", (2, 4)),
        ("queue_delay_us", 500),
        ("queue_delay_us", None),
        ("threads", 2),
        ("threads", 0),
        ("graph_level", -1),
        ("parameters.mode", "slow"),
        ("parameters.new", "1"),
        ("dynamic_batching.preserve_ordering", True),
        ("instance_group.0.kind", "KIND_GPU"),
    ],
)
def test_a_field_that_is_set_is_read_back(field, value):
    changed = with_settings("m", CONFIG, {field: value})

    assert read_field(changed, field) == value
    assert CONFIG["max_batch_size"] == 16
    assert CONFIG["dynamic_batching"]["max_queue_delay_microseconds"] == "200"


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("max_batch_size", "many", "max_batch_size"),
        ("optimization.graf.level", 1, "no field 'graf'"),
        ("instance_group.3.count", 1, "there is no item '3'"),
    ],
)
def test_a_field_that_a_config_cannot_have_is_refused(field, value, text):
    with pytest.raises(SpecError, match=text):
        with_settings("m", CONFIG, {field: value})


def names_and_values(subject, *given):
    space = make_space(subject, given)
    return {field.name: field.values for field in space.fields}


def test_values_are_lists_ranges_and_words():
    found = names_and_values(
        MODEL,
        "instances=1..4",
        "max_batch_size=8..64",
        "queue_delay_us=off,0,500",
        "preferred=[],[4,8]",
        "parameters.mode=fast,slow",
        "concurrency=4",
    )

    assert found["instances"] == (1, 2, 3, 4)
    assert found["max_batch_size"] == (8, 16, 32, 64)
    assert found["queue_delay_us"] == (None, 0, 500)
    assert found["preferred"] == ((), (4, 8))
    assert found["parameters.mode"] == ("fast", "slow")
    assert (found["concurrency"], found["batch_size"]) == ((4,), (1,))


def test_the_usual_space_has_the_default_in_every_field():
    space = make_space(MODEL)

    assert {"instances", "max_batch_size", "queue_delay_us"} <= {
        field.name for field in space.fields
    }
    for field in space.fields:
        assert field.default in field.values


def test_a_pipeline_has_the_fields_of_its_steps():
    space = make_space(pipeline())
    names = {field.name for field in space.fields}

    assert {"m:instances", "n:instances", "m:max_batch_size", "concurrency"} <= names
    assert not any(name.startswith("p:") for name in names)


@pytest.mark.parametrize(
    ("subject", "given", "settings", "reason"),
    [
        (MODEL, "preferred=[4],[32]", {"preferred": (32,)}, "exceeds max_batch_size"),
        (MODEL, "batch_size=1,32", {"batch_size": 32}, "of a request exceeds"),
        (
            pipeline(),
            "m:max_batch_size=4,16,32",
            {"m:max_batch_size": 4},
            "of step 'm' is below the 8 of 'p'",
        ),
    ],
)
def test_what_a_server_would_refuse_is_illegal(subject, given, settings, reason):
    space = make_space(subject, [given])

    assert reason in space.why_illegal(settings)


def test_a_delay_without_batches_is_illegal():
    plain = CONFIG | {"dynamic_batching": {}}
    subject = Subject(model="m", configs={"m": plain})
    space = make_space(subject, ["max_batch_size=1,8", "queue_delay_us=0,100"])

    assert "only delays" in space.why_illegal(
        {"max_batch_size": 1, "queue_delay_us": 100}
    )
    assert not space.why_illegal({"max_batch_size": 8, "queue_delay_us": 100})


@pytest.mark.parametrize(
    ("subject", "given", "text"),
    [
        (MODEL, "instances", "cannot be read"),
        (MODEL, "instances=", "cannot be read"),
        (MODEL, "instances=4..1", "no range"),
        (MODEL, "instances=1,1", "has a value twice"),
        (MODEL, "instnaces=1,2", "no field 'instnaces'"),
        (MODEL, "concurrency=0", "above 0"),
        (MODEL, "x:instances=1,2", "has no model 'x'"),
        (pipeline(), "instances=1,2", "has several models"),
        (MODEL, "preferred=[32],[64]", "nothing legal in it"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(subject, given, text):
    with pytest.raises(SpecError, match=text):
        make_space(subject, [given])


def test_both_kinds_of_load_are_refused():
    with pytest.raises(SpecError, match="both concurrency and request_rate"):
        make_space(MODEL, ["concurrency=1,2", "request_rate=10,20"])


@pytest.mark.parametrize(
    ("groups", "total"),
    [
        ([], 1),
        ([{"count": 3, "kind": "KIND_CPU"}], 3),
        ([{"count": 2, "kind": "KIND_GPU", "gpus": [0, 1]}], 4),
        ([{"kind": "KIND_GPU", "gpus": [0]}, {"count": 2, "kind": "KIND_CPU"}], 3),
    ],
)
def test_instances_of_a_group_run_on_each_of_its_gpus(groups, total):
    assert instance_total(CONFIG | {"instance_group": groups}) == total

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_transport import MemoryTransport

from triton_kit.cli.perf.target import TargetOptions
from triton_kit.errors import SpecError
from triton_kit.loadtest.loops.mix import ModelShare, deal
from triton_kit.loadtest.loops.observed import ObservedTransport, PartRecorders
from triton_kit.loadtest.loops.open_loop import OpenLoop
from triton_kit.loadtest.loops.sequences import Sequences
from triton_kit.loadtest.loops.tracker import RequestTracker
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.request import Request
from triton_kit.loadtest.spec import PerfSpec


def hands(*sizes):
    return [[Request(b"x") for _ in range(size)] for size in sizes]


@given(st.lists(st.integers(1, 9), min_size=2, max_size=4), st.integers(0, 2**32))
def test_every_block_of_the_order_has_the_weights_exactly(weights, seed):
    dealt = hands(*[2] * len(weights))
    model_of = {request: i for i, hand in enumerate(dealt) for request in hand}

    order = [model_of[request] for request in deal(dealt, weights, seed=seed)]

    unit = math.gcd(*weights)
    length = sum(weights) // unit
    assert len(order) % length == 0
    for start in range(0, len(order), length):
        counts = Counter(order[start : start + length])
        assert [counts[i] * unit for i in range(len(weights))] == weights


def test_the_same_seed_gives_the_same_order_and_another_one_does_not():
    dealt = hands(1, 1)

    one, same, other = (deal(dealt, [3, 1], seed=seed) for seed in (7, 7, 8))

    assert one == same
    assert one != other


def test_all_data_of_a_rare_model_is_sent_in_turn():
    often, rarely = hands(3, 500)

    order = deal([often, rarely], [99, 1], seed=0)

    assert [request for request in order if request in set(rarely)] == rarely


def test_each_part_has_its_own_figures():
    good, bad = Request(b"x"), Request(b"")
    tracker = RequestTracker()
    with Reactor() as reactor:
        parts = PartRecorders(
            tracker, "model", 2, lambda _slot, request: request is bad
        )
        transport = ObservedTransport(MemoryTransport(reactor), [parts])
        loop = OpenLoop(
            reactor,
            transport,
            [good, good, bad],
            lambda: iter(range(0, 30_000, 1000)),
            most_in_flight=8,
            tracker=tracker,
        )
        loop.begin()
        reactor.run()
        cut = loop.take_snapshot()

    assert (cut.whole.succeeded, cut.whole.failed) == (20, 10)
    assert [(part.succeeded, part.failed) for part in cut.parts["model"]] == [
        (20, 0),
        (0, 10),
    ]
    assert cut.parts["model"][0].latency.sum_ns == cut.whole.latency.sum_ns


@pytest.mark.parametrize("weight", [0, -1, 1001])
def test_an_impossible_weight_is_refused(weight):
    with pytest.raises(SpecError, match="weight"):
        ModelShare(model="m", weight=weight)


@pytest.mark.parametrize(
    "wrong",
    [
        {"models": (ModelShare(model="a"), ModelShare(model="a"))},
        {"models": (ModelShare(model="a"),)},
        {"models": (ModelShare(model="a"), ModelShare(model="b")), "model": "c"},
        {
            "models": (ModelShare(model="a"), ModelShare(model="b")),
            "sequences": Sequences(),
        },
        {},
    ],
)
def test_models_that_contradict_each_other_are_refused(wrong):
    with pytest.raises(SpecError):
        PerfSpec(url="x", **wrong)


def test_fields_that_a_share_leaves_out_are_those_of_all_models():
    spec = PerfSpec(
        url="x",
        batch_size=2,
        models=(
            ModelShare(model="a"),
            ModelShare(model="b", batch_size=8, version="3"),
        ),
    )

    assert [(p.model, p.batch_size, p.version) for p in spec.parts] == [
        ("a", 2, ""),
        ("b", 8, "3"),
    ]


def options(models, **said):
    given = {"versions": (), "batch_sizes": (), "shapes": (), "input_data": ()}
    others = {"urls": ("h",), "protocol": "http", "streaming": False}
    others |= {"headers": (), "parameters": ()}
    fields = TargetOptions(**{"models": models} | others | given | said).fields()
    known = {*others, "url", "more_urls"}
    return {name: fields[name] for name in fields if name not in known}


def test_one_model_may_have_any_name():
    assert options(("a=b",), batch_sizes=("4",)) == {"model": "a=b", "batch_size": 4}


def test_options_are_for_all_models_or_for_one():
    part = options(
        ("a=3", "b"),
        batch_sizes=("2", "b=8"),
        shapes=("a=x:3,4",),
        input_data=("zero", "b=x:random:0:9"),
    )

    assert part == {
        "models": (
            ModelShare(model="a", weight=3, shapes={"x": (3, 4)}),
            ModelShare(model="b", batch_size=8, input_data="x:random:0:9"),
        ),
        "batch_size": 2,
        "input_data": "zero",
    }


@pytest.mark.parametrize(
    ("models", "said", "message"),
    [
        (("a=x", "b"), {}, "weight of model 'a'"),
        (("a", "b"), {"shapes": ("x:3",)}, "leaves open which"),
        (("a", "b"), {"batch_sizes": ("c=3",)}, "batch size 'c=3'"),
        (("a",), {"batch_sizes": ("two",)}, "batch size 'two'"),
    ],
)
def test_unreadable_model_options_are_refused(models, said, message):
    with pytest.raises(SpecError, match=message):
        options(models, **said)

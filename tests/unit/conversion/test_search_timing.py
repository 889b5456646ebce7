"""Candidates are timed at the opt shapes of every profile."""

import numpy as np
import pytest
from convert_networks import Builder, saved
from onnx import TensorProto as T

from triton_kit.conversion.search.timing import cheapest, opt_feeds, with_times
from triton_kit.conversion.shapes import points_of
from triton_kit.conversion.spec import TriedPrecision
from triton_kit.conversion.workers.models import write_feeds
from triton_kit.conversion.workers.timing_worker import work
from triton_kit.options.shapes import ShapeRange


def ranges(*sizes):
    low, opt, high = ((size, 4) for size in sizes)
    return {"x": ShapeRange(min=low, opt=opt, max=high)}


@pytest.mark.parametrize(
    ("profiles", "expected"),
    [
        ([(1, 8, 16)], [8]),
        ([(1, 1, 16)], [1]),
        ([(1, 8, 16), (1, 2, 8)], [8, 2]),
        ([(1, 8, 16), (1, 8, 32)], [8]),
    ],
)
def test_each_profile_is_timed_at_its_opt(tmp_path, profiles, expected):
    profiles = [ranges(*sizes) for sizes in profiles]
    points = points_of(profiles)
    feeds = write_feeds(
        [{"x": np.ones(shapes["x"], np.float32)} for shapes in points.values()],
        tmp_path,
        labels=list(points),
    )

    found = opt_feeds(feeds, profiles)

    assert [len(np.load(path)["arr_0"]) for path in found] == expected


def test_one_time_is_the_mean_of_all_feeds(tmp_path):
    b = Builder()
    b.op("Identity", "x", to="y")
    model = b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])])
    saved(model, tmp_path / "model.onnx")
    feeds = write_feeds([{"x": np.ones((2, 4), np.float32)}] * 200, tmp_path / "feeds")
    request = {
        "models": [str(tmp_path / "model.onnx")] * 2,
        "levels": ["off", "all"],
        "names": feeds.names,
        "rounds": 3,
        "budget_s": 60,
        "on_gpu": False,
        "op_libraries": [],
    }

    seconds = work(request | {"feeds": list(map(str, feeds.paths))})["seconds"]

    assert [len(found) for found in seconds] == [3, 3]
    # One inference of it takes microseconds, all of them much longer.
    assert max(map(min, seconds)) < 0.002


def test_every_feed_is_run(tmp_path):
    b = Builder()
    b.op("Identity", "x", to="y")
    model = b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])])
    saved(model, tmp_path / "model.onnx")
    wrong = [{"x": np.ones((2, size), np.float32)} for size in (4, 5)]
    feeds = write_feeds(wrong, tmp_path / "feeds")

    with pytest.raises(Exception, match="Got: 5 Expected: 4"):
        work(
            {
                "models": [str(tmp_path / "model.onnx")],
                "levels": ["off"],
                "feeds": list(map(str, feeds.paths)),
                "names": feeds.names,
                "rounds": 1,
                "budget_s": 60,
                "on_gpu": False,
                "op_libraries": [],
            }
        )


# Seconds of the float32 candidate: the machine is twice as slow in the middle.
FP32 = [1.0, 1.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0]
NO_GAIN = "not measurably faster than fp32"


@pytest.mark.parametrize(
    ("int8", "why_not"),
    [
        ([0.8 * seconds for seconds in FP32], None),
        ([0.99 * seconds for seconds in FP32], None),
        ([*(0.9 * s for s in FP32[:6]), 1.02, 1.02], None),
        ([*(0.5 * s for s in FP32[:5]), 1.2, 1.2, 1.2], NO_GAIN),
        (FP32, NO_GAIN),
        ([1.05 * seconds for seconds in FP32], NO_GAIN),
    ],
)
@pytest.mark.parametrize("precision", ["int8", "int8-dynamic"])
def test_int8_is_taken_only_if_it_is_faster_in_most_rounds(precision, int8, why_not):
    rows = [
        TriedPrecision(precision=name, bytes=size)
        for name, size in ((precision, 1), ("fp16", 2), ("fp32", 4))
    ]

    done = with_times(rows, [int8, [2 * s for s in FP32], FP32])

    assert [row.why_not for row in done] == [why_not, None, None]
    assert done[cheapest(done)].precision == ("fp32" if why_not else precision)


def test_int8_is_taken_where_nothing_else_passes():
    [row] = with_times([TriedPrecision(precision="int8")], [FP32])

    assert row.why_not is None
    assert row.seconds == 1.0

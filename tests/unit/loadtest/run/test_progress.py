"""What is shown while a load runs, at every width of a terminal."""

import io
import time

import pytest
from rich.console import Console

from triton_kit.cli.perf.live_view import live_view
from triton_kit.cli.perf.progress import status_line, throttled
from triton_kit.loadtest.loops.load import ClosedLoad
from triton_kit.loadtest.record.recorder import Recorder
from triton_kit.loadtest.request import Failure
from triton_kit.loadtest.run.progress import LoadStatus, Progress


def progress(**changes):
    recorder = Recorder()
    for index in range(1, 2001):
        recorder.times += (0, 0, 1, 1_000_000 + 2_000 * index)
    recorder.fail(Failure("timeout"))
    recording = recorder.take()
    facts = {"is_warm_up": False, "done": 0.4, "elapsed_s": 4.0, "in_flight": 4}
    facts["counted_s"] = 4.0
    facts |= {"ended": recording.total, "recordings": lambda: [recording]}
    status = LoadStatus(**facts | changes)
    return Progress(load=ClosedLoad(4), index=1, loads=3, runs=(), status=status)


def drawn(width, **changes):
    text = io.StringIO()
    screen = Console(file=text, width=width, force_terminal=False)
    screen.print(live_view(progress(**changes)))
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_the_live_view_has_every_figure_at_every_width(width):
    bar, figures, histogram = drawn(width)

    assert bar.startswith("concurrency 4 (2 of 3)")
    assert bar.rstrip().endswith("at most 6 s left")
    assert figures.strip() == ("500/s, 4 in flight, 1 errors, p50 3.00 ms, p99 4.96 ms")
    assert histogram.strip().startswith("1.00 ms")
    assert histogram.strip().endswith("5.00 ms")
    assert "█" in histogram


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_the_live_view_has_the_load_of_the_server_where_it_is_known(width):
    known = {"server_cores": lambda: 1.234, "gpu": lambda: 0.456}

    assert drawn(width, **known)[-1].strip() == "server 1.23 cores, GPU 46%"
    del known["gpu"]
    assert drawn(width, **known)[-1].strip() == "server 1.23 cores"
    assert status_line(progress(**known)).endswith("p99 4.96 ms, server 1.23 cores")


def test_a_log_has_a_line_with_the_figures():
    assert status_line(progress()) == (
        "concurrency 4 (2 of 3): 4 s, 500/s, 4 in flight, 1 errors, p50 3.00 ms, "
        "p99 4.96 ms"
    )
    assert "warm-up" in status_line(progress(is_warm_up=True))


def test_the_rate_is_that_of_the_time_that_was_counted():
    assert "1,000/s" in status_line(progress(counted_s=2.0))


def test_before_the_first_response_there_is_nothing_to_divide():
    status = LoadStatus(
        is_warm_up=True,
        done=0.0,
        elapsed_s=0.0,
        counted_s=0.0,
        in_flight=1,
        ended=0,
        recordings=list,
    )
    before = Progress(load=ClosedLoad(1), index=0, loads=1, runs=(), status=status)

    assert status.left_s is None
    assert "0.00/s, 1 in flight" in status_line(before)


def test_what_several_processes_have_not_reported_yet_is_not_shown_as_none():
    first_window = {"ended": 2000, "recordings": list}

    assert status_line(progress(**first_window)) == (
        "concurrency 4 (2 of 3): 4 s, 500/s, 4 in flight"
    )
    assert drawn(80, **first_window)[1].strip() == "500/s, 4 in flight"


def test_a_view_that_takes_long_is_drawn_less_often():
    drawn_at = []

    def draw_slowly(progress):
        drawn_at.append(progress)
        before = time.thread_time()
        while time.thread_time() - before < 0.01:
            pass

    show = throttled(0.0, draw_slowly, at_once=True)
    for _ in range(100):
        show(progress())

    assert len(drawn_at) == 1

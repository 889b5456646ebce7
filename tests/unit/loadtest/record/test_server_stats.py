"""The server's counters before and after a run, as a server would tell them."""

import pytest

from triton_kit.loadtest.record.stats import StatsWatch


class Counters:
    """Responds with one set of counters after another, each of them twice."""

    def __init__(self, *told):
        self._told = (counters for counters in told for _ in range(2))

    def statistics(self, _name, _version=""):
        return next(self._told)


class Late:
    """Counts the last requests only when it is asked for the third time."""

    def __init__(self):
        self._told = iter([*[counted(10)] * 2, counted(24), *[counted(25)] * 2])

    def statistics(self, _name, _version=""):
        return next(self._told)


def counted(requests, *, ns=1000):
    success = {"count": requests, "ns": requests * ns}
    return [{"inference_count": requests, "inference_stats": {"success": success}}]


def test_figures_are_the_growth_of_the_counters():
    watch = StatsWatch(Counters(counted(10), counted(25)), ["m"])

    [grown] = watch.since(watch.sample())

    assert grown.requests == 15
    assert grown.mean_us["request"] == pytest.approx(1.0)


def test_requests_counted_after_the_last_response_count():
    watch = StatsWatch(Late(), ["m"])

    [grown] = watch.since(watch.sample())

    assert grown.requests == 15


@pytest.mark.parametrize("after", [counted(3), counted(12, ns=10), []])
def test_a_server_that_began_anew_gives_no_figures(after):
    watch = StatsWatch(Counters(counted(10), after), ["m"])

    assert watch.since(watch.sample()) == ()


def batches(**executions):
    return [
        {
            "batch_stats": [
                {"batch_size": size[1:], "compute_infer": {"count": count}}
                for size, count in executions.items()
            ]
        }
    ]


def test_batch_sizes_that_never_ran_before_are_known():
    watch = StatsWatch(Counters(batches(_1=7, _4=2), batches(_1=9, _4=2, _8=1)), ["m"])

    [grown] = watch.since(watch.sample())

    assert grown.batch_sizes == {1: 2, 8: 1}
    assert grown.first_batch_sizes == [8]

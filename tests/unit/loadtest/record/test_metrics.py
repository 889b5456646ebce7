import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import serving

from triton_kit.errors import SpecError, TransportError
from triton_kit.loadtest.record.metrics import MetricsWatch, parse_metrics

TEXT = """# HELP nv_inference_count Number of inferences
# TYPE nv_inference_count counter
nv_inference_count{model="a \\"b\\",c",version="1"} 5
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization{gpu_uuid="GPU-1"} 0.5 1700000000
# TYPE up gauge
up 1
broken line without value {
"""


def test_samples_have_names_labels_and_kinds():
    scrape = parse_metrics(TEXT)

    assert scrape.values == {
        ("nv_inference_count", (("model", 'a \\"b\\",c'), ("version", "1"))): 5.0,
        ("nv_gpu_utilization", (("gpu_uuid", "GPU-1"),)): 0.5,
        ("up", ()): 1.0,
    }
    assert scrape.kind_of("nv_inference_count") == "counter"
    assert scrape.kind_of("up") == "gauge"


@given(text=st.text(max_size=300))
def test_any_text_is_read_without_harm(text):
    values = parse_metrics(text).values

    assert all(math.isfinite(value) for value in values.values())


def wait_for(holds, within_s=60.0):
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def answering(*pages):
    def script(peer, index):
        peer.read_http()
        body = pages[min(index, len(pages) - 1)].encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n"
        peer.send((head + "Connection: close\r\n\r\n").encode() + body)

    return serving(script)


def test_counters_grow_and_gauges_have_a_mean():
    before = "# TYPE c counter\nc 5\n# TYPE g gauge\ng 1\n"
    after = "# TYPE c counter\nc 9\n# TYPE g gauge\ng 3\n"

    with answering(before, after) as (host, port):
        watch = MetricsWatch(f"{host}:{port}/metrics", interval_s=60)
        with watch.watching():
            pass

    assert watch.summary() == [
        {"name": "c", "labels": {}, "kind": "counter", "growth": 4.0},
        {"name": "g", "labels": {}, "kind": "gauge", "mean": 2, "min": 1, "max": 3},
    ]


def test_sums_of_a_summary_are_counters_and_quantiles_are_not():
    page = """# TYPE s summary
s{{quantile="0.9"}} {}
s_sum {}
s_count {}
"""

    with answering(page.format(7, 50, 5), page.format(5, 90, 9)) as (host, port):
        watch = MetricsWatch(f"{host}:{port}/metrics", interval_s=60)
        with watch.watching():
            pass

    quantile = {"name": "s", "labels": {"quantile": "0.9"}, "kind": "gauge"}
    assert watch.summary() == [
        quantile | {"mean": 6, "min": 5, "max": 7},
        {"name": "s_sum", "labels": {}, "kind": "counter", "growth": 40},
        {"name": "s_count", "labels": {}, "kind": "counter", "growth": 4},
    ]


def test_values_that_are_no_numbers_are_left_out():
    scrape = parse_metrics('s{quantile="0.5"} Nan\ns{quantile="1"} +Inf\nup 1\n')

    assert scrape.values == {("up", ()): 1.0}


@pytest.mark.parametrize(
    "bad",
    [
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nc 5\n",
        b"what?\r\n\r\n",
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_failed_scrape_is_left_out_and_the_run_goes_on(bad, place):
    def script(peer, index):
        peer.read_http()
        good = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nup 1"
        peer.send(bad if index == place else good)

    with serving(script) as (host, port):
        watch = MetricsWatch(f"{host}:{port}/metrics", interval_s=60)
        with watch.watching():
            pass

    assert [row["mean"] for row in watch.summary()] == [1]


def test_a_page_without_metrics_is_refused():
    with (
        answering("<html>") as (host, port),
        pytest.raises(TransportError, match="the response has none") as caught,
    ):
        MetricsWatch(f"http://{host}:{port}").scrape()
    assert "/metrics" in caught.value.hint


def test_a_closed_port_is_an_error_with_a_hint():
    with serving(lambda *_: None) as (host, port):
        pass

    with pytest.raises(TransportError, match="no metrics at") as caught:
        MetricsWatch(f"{host}:{port}").scrape()

    assert "--metrics-url" in caught.value.hint


def test_an_impossible_interval_is_refused():
    with pytest.raises(SpecError):
        MetricsWatch("x", interval_s=0)


def test_a_counter_that_began_anew_grows_from_zero():
    pages = [f"# TYPE c counter\nc {value}\n" for value in (5, 9, 2, 3)]

    with answering(*pages) as (host, port):
        watch = MetricsWatch(f"{host}:{port}/metrics", interval_s=0.01)
        with watch.watching():
            wait_for(lambda: len(watch._scrapes) > 4)

    assert [row["growth"] for row in watch.summary()] == [9 - 5 + 2 + 3 - 2]

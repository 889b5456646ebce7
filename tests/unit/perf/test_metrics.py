import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import serving

from triton_kit.errors import SpecError, TransportError
from triton_kit.perf.server.metrics import MetricsWatch, parse_metrics

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
    parse_metrics(text)


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


def test_a_page_without_metrics_is_refused():
    with (
        answering("<html>") as (host, port),
        pytest.raises(TransportError, match="none in the answer"),
    ):
        MetricsWatch(f"http://{host}:{port}").scrape()


def test_nobody_there_is_an_error_with_a_hint():
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

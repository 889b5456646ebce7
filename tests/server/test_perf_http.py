import json
import urllib.request

import pytest
from click.testing import CliRunner

from triton_kit.cli import main
from triton_kit.errors import ServerError, SpecError, TransportError
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec

pytestmark = pytest.mark.server


def served(loaded, model):
    """Return the requests and inferences that the server itself has counted."""
    url = f"{loaded.http_url}/v2/models/{model}/stats"
    with urllib.request.urlopen(url, timeout=10) as answer:
        stats = json.load(answer)["model_stats"][0]
    return stats["inference_stats"]["success"]["count"], stats["inference_count"]


def test_the_server_counts_the_same_requests(loaded):
    requests, inferences = served(loaded, "mlp")

    result = measure(
        PerfSpec(
            url=loaded.http_url,
            model="mlp",
            loads=(ClosedLoad(1), ClosedLoad(8)),
            batch_size=4,
            request_count=300,
            warm_up_s=0,
        )
    )
    requests_after, inferences_after = served(loaded, "mlp")

    assert [run.errors for run in result.runs] == [0, 0]
    assert [run.figures.succeeded for run in result.runs] == [300, 300]
    assert requests_after - requests == 600
    assert inferences_after - inferences == 2400


def test_every_dtype_reaches_the_model(loaded):
    result = measure(
        PerfSpec(
            url=loaded.http_url, model="every_dtype", request_count=20, warm_up_s=0
        )
    )

    assert result.runs[0].recording.errors == {}
    assert result.runs[0].figures.succeeded == 20


def test_requests_that_the_model_refuses_are_counted_not_raised(loaded):
    result = measure(
        PerfSpec(
            url=loaded.http_url,
            model="moody",
            loads=(ClosedLoad(4),),
            request_count=64,
            warm_up_s=0,
        )
    )
    run = result.runs[0]
    [(kind, tally)] = run.recording.errors.items()

    assert run.figures.succeeded + run.errors == 64
    assert run.figures.succeeded > 0
    assert kind == "HTTP 500"
    assert "not in the mood" in tally.example


def test_a_shape_that_varies_is_sent_as_asked(loaded):
    result = measure(
        PerfSpec(
            url=loaded.http_url,
            model="varying",
            shapes={"x": (7,)},
            request_count=5,
            warm_up_s=0,
        )
    )

    assert result.runs[0].errors == 0


def test_a_shape_that_varies_and_was_not_given_is_asked_for(loaded):
    with pytest.raises(SpecError, match="varies in shape"):
        measure(PerfSpec(url=loaded.http_url, model="varying"))


def test_an_unknown_model_names_the_nearest(loaded):
    with pytest.raises(SpecError, match="no model 'mpl'") as caught:
        measure(PerfSpec(url=loaded.http_url, model="mpl"))

    assert caught.value.hint == "did you mean 'mlp'?"


def test_a_version_that_is_not_there_names_those_that_are(loaded):
    with pytest.raises(SpecError, match="version 9") as caught:
        measure(PerfSpec(url=loaded.http_url, model="mlp", version="9"))

    assert caught.value.hint == "versions of 'mlp': 1"


def test_a_model_that_failed_to_load_says_why(loaded):
    with pytest.raises(ServerError, match="born broken"):
        measure(PerfSpec(url=loaded.http_url, model="broken"))


def test_the_grpc_port_is_recognised(loaded):
    with pytest.raises(TransportError, match="not in HTTP") as caught:
        measure(PerfSpec(url=loaded.grpc_url, model="mlp"))

    assert "gRPC" in caught.value.hint


def test_the_metrics_port_is_recognised(loaded):
    with pytest.raises(TransportError, match="not the KServe v2 protocol"):
        measure(PerfSpec(url=loaded.metrics_url.removesuffix("/metrics"), model="mlp"))


def test_progress_ends_at_its_end(loaded):
    seen = []

    measure(
        PerfSpec(
            url=loaded.http_url, model="mlp", measurement_interval_s=0.4, warm_up_s=0.1
        ),
        seen.append,
    )

    assert seen
    assert all(0 <= progress.done <= 1 for progress in seen)
    assert seen[0].loads == 1


def test_the_command_prints_a_table_and_writes_json(loaded, tmp_path):
    path = tmp_path / "perf.json"

    result = CliRunner().invoke(
        main,
        [
            *("perf", "-m", "mlp", "-u", loaded.http_url, "-b", "2"),
            *("--concurrency-range", "1:5:4", "-p", "300", "--json", str(path)),
        ],
    )
    written = json.loads(path.read_text())

    assert result.exit_code == 0, result.output
    assert "concurrency 5" in result.output
    assert "p99.9" in result.output
    assert written["schema"] == "triton-kit.perf/2"
    assert [run["load"]["concurrency"] for run in written["runs"]] == [1, 5]
    for run in written["runs"]:
        assert run["throughput"] > 0
        assert run["errors"] == 0
        assert 0 < run["latency_us"]["p50"] <= run["latency_us"]["p99"]
        assert run["latency_from_send_us"]["p50"] <= run["latency_us"]["p50"]
        assert run["client_cpu_us_per_request"] > 0


def test_the_command_explains_an_unknown_model(loaded):
    result = CliRunner().invoke(main, ["perf", "-m", "mpl", "-u", loaded.http_url])

    assert result.exit_code == 2
    assert "did you mean 'mlp'?" in result.output

import csv
import json
import time

import pytest
from click.testing import CliRunner
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from triton_kit.cli import main

pytestmark = pytest.mark.server


def perf(loaded, *words, grpc=True, model="mlp"):
    url = loaded.grpc_url if grpc else loaded.http_url
    protocol = "grpc" if grpc else "http"
    return CliRunner().invoke(
        main,
        ["perf", "-m", model, "-i", protocol, "-u", url, "--warm-up", "0.1", *words],
    )


def test_a_command_line_of_perf_analyzer_works_as_it_is(loaded, tmp_path):
    table = tmp_path / "out.csv"

    result = perf(
        loaded,
        *("-b", "4", "--concurrency-range", "1:5:4", "--shape", "x:16"),
        *("--input-data", "zero", "-p", "200", "-s", "500", "--percentile", "95"),
        *("-f", str(table)),
    )
    [head, *rows] = list(csv.reader(table.read_text().splitlines()))

    assert result.exit_code == 0, result.output
    assert head[0] == "Concurrency"
    assert "p99 latency" in head
    assert [row[0] for row in rows] == ["1", "5"]
    assert all(float(cell) >= 0 for row in rows for cell in row)


PLAIN = (
    *("Concurrency", "Inferences/Second", "Client Send", "Network+Server Send/Recv"),
    *("Server Queue", "Server Compute Input", "Server Compute Infer"),
    *("Server Compute Output", "Client Recv"),
    *("p50 latency", "p90 latency", "p95 latency", "p99 latency"),
)
GPUS = (
    *("Avg GPU Utilization", "Avg GPU Power Usage"),
    *("Max GPU Memory Usage", "Total GPU Memory"),
)


# The columns are those of perf_analyzer 2.47 for the same words.
@pytest.mark.parametrize(
    ("words", "columns"),
    [
        ([], PLAIN),
        (["--percentile", "97"], (*PLAIN[:-1], "p97 latency", PLAIN[-1])),
        (["--percentile", "95"], PLAIN),
        (
            ["--verbose-csv"],
            (*PLAIN, "Avg latency", "request/response", "response wait"),
        ),
        (
            ["--verbose-csv", "--percentile", "42"],
            (
                *(*PLAIN[:-4], "p42 latency", *PLAIN[-4:]),
                *("request/response", "response wait"),
            ),
        ),
        (["--collect-metrics"], PLAIN),
        (
            ["--collect-metrics", "--verbose-csv"],
            (*PLAIN, "Avg latency", "request/response", "response wait", *GPUS),
        ),
    ],
)
def test_the_csv_has_the_columns_of_perf_analyzer(loaded, tmp_path, words, columns):
    path = tmp_path / "out.csv"
    if "--collect-metrics" in words:
        words = [*words, "--metrics-url", loaded.metrics_url]

    result = perf(loaded, "--request-count", "20", "-f", str(path), *words)
    [head, row] = csv.reader(path.read_text().splitlines())

    assert result.exit_code == 0, result.output
    assert tuple(head) == columns
    assert len(row) == len(columns)


def test_the_further_columns_add_up_to_the_mean(loaded, tmp_path):
    path = tmp_path / "out.csv"

    perf(loaded, "--request-count", "50", "-f", str(path), "--verbose-csv")
    [row] = csv.DictReader(path.read_text().splitlines())

    parts = float(row["request/response"]) + float(row["response wait"])
    assert parts == pytest.approx(float(row["Avg latency"]), abs=2)


def test_the_csv_of_a_decoupled_model_counts_responses(loaded, tmp_path):
    data, path = tmp_path / "data.json", tmp_path / "out.csv"
    data.write_text('{"data": [{"count": [3]}]}')

    result = perf(
        loaded,
        *("--input-data", str(data), "--request-count", "20", "-f", str(path)),
        model="repeat",
    )
    [row] = csv.DictReader(path.read_text().splitlines())

    assert result.exit_code == 0, result.output
    assert list(row)[1:3] == ["Inferences/Second", "Response Throughput"]
    assert float(row["Response Throughput"]) == pytest.approx(
        3 * float(row["Inferences/Second"]), rel=1e-3
    )


def test_the_profile_is_valid_json_with_every_request(loaded, tmp_path):
    path = tmp_path / "profile.json"
    results = tmp_path / "result.json"

    perf(
        loaded,
        *("--request-rate-range", "200", "-p", "500"),
        *("--profile-export-file", str(path), "--json", str(results)),
    )
    [experiment] = json.loads(path.read_text())["experiments"]
    [run] = json.loads(results.read_text())["runs"]

    assert experiment["experiment"] == {"mode": "request_rate", "value": 200.0}
    assert len(experiment["requests"]) == run["requests"]
    for request in experiment["requests"]:
        assert (
            request["due"]
            <= request["timestamp"]
            <= (request["response_timestamps"][0])
        )


def test_a_missed_objective_is_exit_code_1(loaded):
    result = perf(loaded, "--request-count", "50", "--slo", "p99<1us")

    assert result.exit_code == 1
    assert "misses p99<1us" in result.output


def test_objectives_that_are_met_are_exit_code_0(loaded, tmp_path):
    path = tmp_path / "result.json"

    result = perf(
        loaded,
        *("--request-count", "50", "--slo", "p99<50s,errors<1%,throughput>1"),
        *("--json", str(path)),
    )
    written = json.loads(path.read_text())

    assert result.exit_code == 0, result.output
    assert written["meets_slo"] is True
    assert [row["is_met"] for row in written["runs"][0]["slo"]] == [True] * 3


def test_a_search_measures_a_few_of_many_loads(loaded, tmp_path):
    path = tmp_path / "result.json"

    result = perf(
        loaded,
        *("--concurrency-range", "1:16", "--binary-search", "-l", "60000"),
        *("--request-count", "50", "--json", str(path)),
    )
    written = json.loads(path.read_text())
    loads = [run["load"]["concurrency"] for run in written["runs"]]

    assert loads[-1] == 16
    assert len(loads) <= 5
    assert written["highest_load_met"] == "concurrency 16"
    assert "the highest load that meets the objectives: concurrency 16" in result.output


def test_a_range_without_an_end_ends_with_the_first_load_that_misses(loaded, tmp_path):
    path = tmp_path / "result.json"

    result = perf(
        loaded,
        *("--concurrency-range", "1:0:3", "-l", "0.001", "--request-count", "20"),
        *("--json", str(path)),
    )
    written = json.loads(path.read_text())

    assert result.exit_code == 1, result.output
    assert [run["load"]["concurrency"] for run in written["runs"]] == [1]
    assert written["spec"]["loads"] == [{"kind": "closed", "concurrency": 1}]


def test_objectives_are_valid_json_where_no_request_succeeded(loaded, tmp_path):
    path = tmp_path / "result.json"

    perf(
        loaded,
        *("--request-timeout", "0.001", "--request-count", "2"),
        *("--slo", "p99<1ms", "--json", str(path)),
        model="slow",
    )
    text = path.read_text()

    assert "Infinity" not in text
    assert json.loads(text)["meets_slo"] is False


def test_two_loads_at_once_are_refused(loaded):
    result = perf(loaded, "--concurrency-range", "2", "--request-rate-range", "5")

    assert result.exit_code == 2
    assert "a load is one of them" in result.output


@pytest.mark.parametrize("grpc", [True, False])
def test_the_servers_own_figures_stand_beside_ours(loaded, tmp_path, grpc):
    path = tmp_path / "result.json"

    result = perf(
        loaded,
        *("--concurrency-range", "4", "-p", "500", "--json", str(path)),
        grpc=grpc,
    )
    [run] = json.loads(path.read_text())["runs"]
    [server] = run["server"]

    assert result.exit_code == 0, result.output
    assert server["requests"] == run["requests_total"]
    assert sum(server["batch_sizes"].values()) == server["executions"]
    assert "mlp on the server" in result.output


@pytest.mark.parametrize("grpc", [True, False])
def test_the_mean_latency_is_the_servers_time_and_the_rest(loaded, tmp_path, grpc):
    path = tmp_path / "result.json"

    perf(
        loaded,
        *("--concurrency-range", "4", "--request-count", "400", "--json", str(path)),
        grpc=grpc,
    )
    [run] = json.loads(path.read_text())["runs"]
    [server] = run["server"]
    stages = server["mean_us"]
    lag_us = run["schedule_lag_us"]["mean"]
    outside_us = run["latency_from_send_us"]["mean"] - stages["request"]

    # The same requests, all of them: so the means may be held against each other.
    assert (run["requests"], run["errors"]) == (400, 0)
    assert (server["requests"], server["failed"]) == (400, 0)
    assert server["inferences"] == 400
    assert lag_us >= 0
    assert outside_us >= 0
    assert lag_us + outside_us + stages["request"] == pytest.approx(
        run["latency_us"]["mean"], abs=0.01
    )
    inside_us = sum(
        stages[name]
        for name in ("queue", "compute_input", "compute_infer", "compute_output")
    )
    assert inside_us <= stages["request"] + 0.01


@pytest.mark.parametrize("grpc", [True, False])
def test_the_figures_of_models_that_are_called_stand_beside_it(loaded, tmp_path, grpc):
    path = tmp_path / "result.json"

    result = perf(
        loaded,
        *("--bls-composing-models", "head:1,chain", "--request-count", "20"),
        *("--json", str(path)),
        grpc=grpc,
        model="chain",
    )
    [run] = json.loads(path.read_text())["runs"]

    assert result.exit_code == 0, result.output
    assert [stats["model"] for stats in run["server"]] == ["chain", "mlp", "head"]


def test_a_model_that_is_called_must_be_there(loaded):
    result = perf(loaded, "--bls-composing-models", "nope")

    assert result.exit_code == 2
    assert "the server has no model 'nope'" in result.output


def test_only_a_decoupled_model_is_called_so(loaded):
    decoupled = perf(loaded, "--request-count", "5", grpc=False, model="repeat")
    other = perf(loaded, "--streaming", "--request-count", "5", grpc=False)

    assert "model 'repeat' may send any number of responses" in decoupled.output
    assert "--streaming is a stream of gRPC" in other.output
    assert decoupled.exit_code == other.exit_code == 2


def test_the_servers_metrics_are_collected(loaded, tmp_path):
    path = tmp_path / "result.json"

    result = perf(
        loaded,
        *("--request-count", "30", "--collect-metrics"),
        *("--metrics-url", loaded.metrics_url, "--json", str(path)),
    )
    [run] = json.loads(path.read_text())["runs"]
    grown = {
        row["name"]: row["growth"]
        for row in run["metrics"]
        if row["kind"] == "counter" and row["labels"].get("model") == "mlp"
    }

    assert result.exit_code == 0, result.output
    assert grown["nv_inference_request_success"] == 30


def test_metrics_that_are_not_there_are_an_error_before_the_load(loaded):
    result = perf(loaded, "--collect-metrics", "--metrics-url", loaded.http_url)

    assert result.exit_code == 6
    assert "no metrics at" in result.output


def test_prometheus_text_has_the_latency(loaded, tmp_path):
    path = tmp_path / "perf.prom"

    perf(loaded, "--request-count", "20", "--prometheus", str(path))

    assert 'triton_kit_perf_latency_seconds_count{model="mlp"' in path.read_text()


def test_a_pipeline_is_shown_step_by_step(loaded, tmp_path):
    path = tmp_path / "result.json"

    result = CliRunner().invoke(
        main,
        [
            *("perf", "-m", "chain", "-u", loaded.http_url, "--request-count", "40"),
            *("--json", str(path)),
        ],
    )
    [run] = json.loads(path.read_text())["runs"]

    assert result.exit_code == 0, result.output
    assert [stats["model"] for stats in run["server"]] == ["chain", "mlp", "head"]
    assert [stats["requests"] for stats in run["server"]] == [40, 40, 40]


def test_the_hdr_log_holds_what_the_result_holds(loaded, tmp_path):
    log, results = tmp_path / "out.hlog", tmp_path / "result.json"

    result = perf(
        loaded,
        *("--concurrency-range", "1:5:4", "-p", "300"),
        *("--hdr-file", str(log), "--json", str(results)),
    )
    runs = json.loads(results.read_text())["runs"]
    reader = HistogramLogReader(str(log), HdrHistogram(1, 2**43, 3))
    found = {}
    while (histogram := reader.get_next_interval_histogram()) is not None:
        found[histogram.get_tag()] = histogram
    reader.input_file.close()

    assert result.exit_code == 0, result.output
    assert list(found) == [
        *("concurrency-1", "concurrency-1.from-send"),
        *("concurrency-5", "concurrency-5.from-send"),
    ]
    assert abs(reader.get_start_time_sec() - time.time()) < 600
    for run in runs:
        name = f"concurrency-{run['load']['concurrency']}"
        for tag, key in (
            (name, "latency_us"),
            (f"{name}.from-send", "latency_from_send_us"),
        ):
            histogram = found[tag]
            good = run["requests"] - run["errors"]
            assert histogram.get_total_count() == good
            for percent in (50, 90, 99, 99.9):
                # The library rounds the rank, we take the next one up.
                least = histogram.get_value_at_percentile(percent) / 1000
                most = histogram.get_value_at_percentile(percent + 100 / good) / 1000
                # Half a bucket of ours, and one of three significant digits.
                assert 0.997 * least <= run[key][f"p{percent}"] <= 1.003 * most


def test_a_load_without_a_success_is_a_failure(loaded):
    words = ("--input-data", "zero", "--request-count", "4")

    result = perf(loaded, *words, model="moody")

    assert result.exit_code == 1
    assert "failing: 4 of 4 requests failed" in result.output


def test_the_json_document_may_go_to_standard_output(loaded):
    result = perf(loaded, "--request-count", "20", "--json", "-")

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["runs"][0]["requests"] == 20
    assert "concurrency 1" in result.stderr


def test_an_objective_may_allow_failed_requests(loaded):
    words = ("--input-data", "zero", "--request-count", "4")

    result = perf(loaded, *words, "--slo", "errors<101%", model="moody")

    assert result.exit_code == 0, result.output
    assert "failing" not in result.output


def test_a_server_that_sends_nothing_ends_the_command(loaded, tmp_path):
    path = tmp_path / "result.json"
    words = ("--request-timeout", "0.01", "--stall-timeout", "0.03")

    result = perf(
        loaded,
        *(*words, "--request-count", "100000", "--json", str(path)),
        model="slow",
    )
    [run] = json.loads(path.read_text())["runs"]

    assert result.exit_code == 1, result.output
    assert run["ended_early"] == "the server sent nothing for 0.03 s"
    assert "failing: the server sent nothing for 0.03 s" in result.output
    assert run["verdict"]["findings"][0]["kind"] == "failing"


@pytest.mark.parametrize("grpc", [True, False])
def test_without_a_model_the_servers_models_are_listed(loaded, grpc):
    protocol, url = ("grpc", loaded.grpc_url) if grpc else ("http", loaded.http_url)

    result = CliRunner().invoke(main, ["perf", "-i", protocol, "-u", url])

    assert result.exit_code == 2
    assert "models: chain, counter" in result.output
    assert "choose one: -m chain" in result.output

import json

import pytest
from click.testing import CliRunner

from triton_kit.cli import main

pytestmark = pytest.mark.server


def perf(loaded, model, *words):
    argv = ["perf", "-m", model, "-u", loaded.grpc_url, "-i", "grpc", "--warm-up", "0"]
    return CliRunner().invoke(main, [*argv, *words])


def test_a_profile_is_replayed_to_its_end(loaded, tmp_path):
    profile, path = tmp_path / "profile.json", tmp_path / "result.json"

    recorded = perf(
        loaded,
        "mlp",
        *("--request-rate-range", "200", "--request-distribution", "poisson"),
        *("--request-count", "60", "--profile-export-file", str(profile)),
    )
    result = perf(
        loaded,
        "mlp",
        *("--replay", str(profile), "--replay-speed", "2", "--json", str(path)),
    )
    [run] = json.loads(path.read_text())["runs"]
    [experiment] = json.loads(profile.read_text())["experiments"]
    due = sorted(request["due"] for request in experiment["requests"])

    assert (recorded.exit_code, result.exit_code) == (0, 0), result.output
    assert run["requests"] == run["server"][0]["requests"] == 60
    assert run["load"]["rate"] == pytest.approx(59 / (due[-1] - due[0]) * 2e9)
    assert run["window_s"] >= (due[-1] - due[0]) / 2e9


def test_each_request_of_a_trace_has_its_own_data(loaded, tmp_path):
    trace, path = tmp_path / "trace.jsonl", tmp_path / "result.json"
    counts = [3, 0, 5, 1]
    lines = [
        json.dumps({"at_ms": 10 * at, "inputs": {"count": [count]}})
        for at, count in enumerate(counts)
    ]
    trace.write_text("\n".join(lines))

    result = perf(loaded, "repeat", "--replay", str(trace), "--json", str(path))
    [run] = json.loads(path.read_text())["runs"]

    assert result.exit_code == 0, result.output
    assert (run["requests"], run["replies"]) == (4, sum(counts))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-b", "2"], "so no -b"),
        (["--input-data", "zero"], "so no --input-data"),
        (["-m", "mlp"], "so no several models"),
        (["--concurrency-range", "2"], "a load is one of them"),
        (["--replay-speed", "0"], "replay speed 0"),
    ],
)
def test_what_a_trace_rules_out_is_refused(loaded, tmp_path, words, message):
    trace = tmp_path / "trace.jsonl"
    trace.write_text('{"at_ms": 0, "inputs": {"count": [1]}}')

    result = perf(loaded, "repeat", "--replay", str(trace), *words)

    assert result.exit_code == 2
    assert message in result.output

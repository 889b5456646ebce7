"""Repeated runs, and results held against an earlier one, on the real server."""

import json

import pytest
from click.testing import CliRunner

from triton_kit.cli import main

pytestmark = pytest.mark.server


def perf(loaded, *words):
    where = ("-u", loaded.http_url, "-m", "mlp", "--shape", "x:16")
    count = ("--request-count", "60", "--warm-up", "0.1")
    words = ("perf", *where, *count, *map(str, words))
    return CliRunner().invoke(main, words)


@pytest.fixture(scope="module")
def before(loaded, tmp_path_factory):
    path = tmp_path_factory.mktemp("baseline") / "before.json"
    loads = ("--concurrency-range", "1:2")
    result = perf(loaded, *loads, "--repeat", 3, "--json", path)
    assert result.exit_code == 0, result.output
    return path, result.output


def test_loads_are_repeated_in_turn_and_their_medians_shown(before):
    path, output = before
    runs = json.loads(path.read_text())["runs"]

    assert [run["load"]["concurrency"] for run in runs] == [1, 2, 1, 2, 1, 2]
    assert output.count(": median of 3 runs (lowest to highest): infer/s ") == 2


def test_a_result_is_held_against_an_earlier_one(loaded, before):
    path, _ = before
    result = perf(loaded, "--repeat", 3, "--baseline", path)

    assert result.exit_code == 0, result.output
    assert "closed, concurrency 1, x:16 (3 and 3 runs)" in result.output
    assert f"only in {path}: closed, concurrency 2" in result.output


def test_a_load_that_got_much_slower_fails(loaded, before, tmp_path):
    faster = json.loads(before[0].read_text())
    for run in faster["runs"]:
        run["latency_us"] = {name: v / 1e9 for name, v in run["latency_us"].items()}
    path = tmp_path / "faster.json"
    path.write_text(json.dumps(faster))

    words = ("--concurrency-range", "1:2", "--repeat", 3, "--baseline", path)
    result = perf(loaded, *words, "--fail-if", "p50>+100%")

    assert result.exit_code == 1, result.output
    assert result.output.count("FAILED p50>+100%") == 2, result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--fail-if", "p99>+5%"), "--fail-if has no effect without --baseline"),
        (("--baseline", "BEFORE", "--fail-if", "p98>+5%"), "no such figure"),
        (("--repeat", "2", "--binary-search", "--slo", "p99<1s"), "cannot be repeated"),
    ],
)
def test_mistakes_are_found_before_the_load(loaded, before, words, message):
    words = [before[0] if word == "BEFORE" else word for word in words]
    result = perf(loaded, "--concurrency-range", "1:2", *words)

    assert result.exit_code == 2
    assert message in result.output
    assert "infer/s" not in result.output

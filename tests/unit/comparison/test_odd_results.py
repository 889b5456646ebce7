"""Results with errors only, extreme figures or odd content are compared or refused."""

import json
from pathlib import Path

import pytest
from result_json import result_json, run_json

from triton_kit.comparison.conditions import judge, parse_conditions
from triton_kit.comparison.differences import compare_results
from triton_kit.comparison.report import json_report, text_report
from triton_kit.comparison.result_file import result_from_json
from triton_kit.errors import SpecError


def compare(before, after, **options):
    return compare_results(
        result_from_json(before, Path("before.json")),
        result_from_json(after, Path("after.json")),
        **options,
    )


def generation(**times):
    return {
        "time_to_first_token_us": times,
        "inter_token_latency_us": {},
        "output_tokens_per_s": 10.0,
    }


FAILED = run_json(errors=5000, throughput=0.0, latency_us=1e9) | {
    "latency_us": {"p50": 0.0, "p99": 0.0}
}


def test_a_latency_gate_fails_where_every_request_failed():
    comparison = compare(result_json(run_json()), result_json(FAILED))

    [judgement] = judge(comparison, parse_conditions("p99>+5%"))

    assert judgement.failure == "p99 is 0 in a run: no response was measured"


def test_two_repeats_that_differ_a_lot_have_an_endless_interval():
    wild = result_json(run_json(latency_us=1.0), run_json(latency_us=1e9))

    comparison = compare(wild, wild, confidence=0.99999)

    assert comparison.loads[0].differences[0].interval.high == float("inf")
    assert max(map(len, text_report(comparison, ()).splitlines())) < 200


def test_a_change_from_zero_is_null_in_json():
    text = json_report(compare(result_json(FAILED), result_json(run_json())), ())

    def refuse(name):
        raise AssertionError(name)

    read = json.loads(text, parse_constant=refuse)
    assert read["loads"][0]["differences"][0]["change"] is None


def test_token_times_that_a_result_lacks_are_left_out():
    result = result_json(run_json(generation=generation(p50=1000.0)))

    [load] = compare(result, result).loads

    names = [difference.figure for difference in load.differences]
    assert "ttft_p50" in names
    assert "ttft_p99" not in names


def test_figures_of_unknown_noise_are_named():
    comparison = compare(result_json(run_json()), result_json(run_json()))

    assert (
        "not known whether the change is noise: throughput, p50, p95, p99 "
        "(closed, concurrency 1)"
    ) in text_report(comparison, ())


@pytest.mark.parametrize("text", ["throughput<90%", "p99>-5%"])
def test_conditions_that_an_unchanged_figure_meets_are_refused(text):
    with pytest.raises(SpecError, match="did not change"):
        parse_conditions(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"figures": ["p98"]}, "p98"), ({"confidence": 95}, "confidence is 95")],
)
def test_unknown_figures_and_confidences_are_refused(options, message):
    with pytest.raises(SpecError, match=message):
        compare(result_json(run_json()), result_json(run_json()), **options)


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"name": "mlp", "inputs": ["x"]}},
        {"spec": {"transport": "http"}},
        {"runs": [run_json(requests=-1)]},
        {"runs": [run_json(throughput=float("nan"))]},
    ],
)
def test_odd_content_is_refused(change):
    with pytest.raises(SpecError, match=r"odd\.json"):
        result_from_json(result_json(run_json()) | change, Path("odd.json"))


@pytest.mark.parametrize("command", ["compare", "perf"])
def test_an_empty_condition_is_refused(kit, tmp_path, command):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(result_json(run_json())))
    words = {
        "compare": ["compare", str(path), str(path)],
        "perf": ["perf", "-m", "mlp", "--baseline", str(path)],
    }[command]

    result = kit(*words, "--fail-if", "")

    assert result.exit_code == 2
    assert "cannot be read" in result.output

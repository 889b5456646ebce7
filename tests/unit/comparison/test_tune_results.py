"""Two results of `tune`: their defaults and their best settings, compared."""

import pytest
from result_json import result_json, run_json
from test_compare import compare, outcomes

from triton_kit.errors import SpecError


def tune_json(best_rate, *, model="m", slo=()):
    def trial(instances, rate):
        return {
            "stage": "final",
            "settings": {"instances": instances},
            "figures": {
                "throughput": rate,
                "requests": 500.0,
                "errors": 0.0,
                **dict.fromkeys(("mean", "p50", "p95", "p99"), 1e6 / rate),
            },
            "failure": "",
            "verdict": "stable",
        }

    failed = {**trial(2, 1.0), "figures": {}, "failure": "the server ended"}
    return {
        "schema": "triton-kit.tune/1",
        "model": model,
        "inputs": {"objective": "throughput", "slo": list(slo)},
        "environment": {"cpu": "one", "cpus": 2},
        "baseline": {"instances": 1},
        "best": {"instances": 2},
        "trials": [
            failed,
            *(trial(1, 100.0 + noise) for noise in range(6)),
            *(trial(2, best_rate + noise) for noise in range(6)),
            {**trial(2, 5.0), "stage": "sample"},
        ],
    }


def test_the_best_of_two_searches_are_compared_in_their_last_rounds():
    comparison = compare(tune_json(150.0), tune_json(200.0))

    default, best = comparison.loads
    assert (default.load, best.load) == ("default settings", "best settings")
    assert best.runs == (6, 6)
    assert {d.outcome for d in default.differences} == {"no difference found"}
    assert best.differences[0].outcome == "better"
    assert 0.2 < best.differences[0].interval.low < 1 / 3


def test_rounds_that_confirm_a_gain_count_instead_of_those_that_chose():
    def confirmed(document):
        chosen = [t for t in document["trials"] if t["stage"] == "final"]
        slower = [
            {
                **trial,
                "stage": "confirm",
                "figures": {**trial["figures"], "throughput": 90.0 + number},
            }
            for number, trial in enumerate(chosen)
            if not trial["failure"]
        ]
        return {**document, "trials": document["trials"] + slower}

    _, best = compare(tune_json(150.0), confirmed(tune_json(150.0))).loads

    assert best.runs == (6, 6)
    assert best.differences[0].outcome == "worse"


def test_other_searches_and_results_of_perf_are_refused():
    with pytest.raises(SpecError, match=r"not alike: .*slo"):
        compare(tune_json(150.0), tune_json(150.0, slo=["p99<1ms"]))
    with pytest.raises(SpecError, match=r"before.json is a result of tune"):
        compare(tune_json(150.0), result_json(run_json()), allow_differences=True)
    with pytest.raises(SpecError, match="trials"):
        compare({**tune_json(1.0), "trials": None}, tune_json(1.0))


def test_a_search_that_changed_nothing_differs_in_nothing():
    assert outcomes(compare(tune_json(150.0), tune_json(150.0))) == {
        "no difference found"
    }

"""Two results are compared load by load, and only where they are alike."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from result_json import noisy_runs, result_json, run_json

from triton_kit.comparison.conditions import judge, parse_conditions
from triton_kit.comparison.differences import compare_results
from triton_kit.comparison.report import junit_report
from triton_kit.comparison.result_file import result_from_json
from triton_kit.errors import SpecError


def compare(before, after, **options):
    return compare_results(
        result_from_json(before, Path("before.json")),
        result_from_json(after, Path("after.json")),
        **options,
    )


def outcomes(comparison):
    return {d.outcome for load in comparison.loads for d in load.differences}


@pytest.mark.parametrize("runs", [1, 5, 8])
def test_the_same_thing_twice_seldom_differs(runs):
    rng = np.random.default_rng(runs)

    found = [
        outcomes(
            compare(
                result_json(*noisy_runs(rng, runs=runs)),
                result_json(*noisy_runs(rng, runs=runs)),
            )
        )
        for _ in range(100)
    ]

    assert sum("better" in o or "worse" in o for o in found) <= 5


@pytest.mark.parametrize(("runs", "between"), [(5, 0.02), (8, 0.033)])
def test_a_tenth_slower_is_found_with_repeats(runs, between):
    rng = np.random.default_rng(1)
    conditions = parse_conditions("p50>+5%")
    found = 0
    for _ in range(100):
        comparison = compare(
            result_json(*noisy_runs(rng, runs=runs, between=between)),
            result_json(*noisy_runs(rng, runs=runs, between=between, scale=1.1)),
            figures=["p50"],
        )
        found += any(j.failure for j in judge(comparison, conditions))

    assert found >= 95


def test_loads_are_paired_by_what_they_are():
    before = result_json(run_json(concurrency=1), run_json(concurrency=2))
    after = result_json(run_json(concurrency=2), run_json(concurrency=4))

    comparison = compare(before, after)

    assert [load.load for load in comparison.loads] == ["closed, concurrency 2"]
    assert comparison.only_before == ("closed, concurrency 1",)
    assert comparison.only_after == ("closed, concurrency 4",)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"model": "cnn"}, "model 'mlp' and 'cnn'"),
        ({"cpus": 16}, "cpus 4 and 16"),
    ],
)
def test_what_is_not_alike_is_refused_unless_told_to(other, message):
    before, after = result_json(run_json()), result_json(run_json(), **other)

    with pytest.raises(SpecError, match=message):
        compare(before, after)

    assert message in compare(before, after, allow_differences=True).unlike


def test_no_load_in_common_is_refused():
    with pytest.raises(SpecError, match="no load in common that ran to its end"):
        compare(
            result_json(run_json(concurrency=1)), result_json(run_json(concurrency=2))
        )


@pytest.mark.parametrize(
    ("condition", "fails"),
    [
        ("p99>+5%", True),
        ("p99>+25%", False),
        ("throughput<-5%", True),
        ("errors>+0.1%", False),
        ("mean<-1%", False),
    ],
)
def test_conditions_fail_for_changes_beyond_their_bound(condition, fails):
    rng = np.random.default_rng(2)
    conditions = parse_conditions(condition)
    comparison = compare(
        result_json(*noisy_runs(rng, between=0.01)),
        result_json(*noisy_runs(rng, between=0.01, scale=1.2)),
        figures=[condition.figure for condition in conditions],
    )

    [judgement] = judge(comparison, conditions)

    assert bool(judgement.failure) is fails


def test_a_gate_that_cannot_see_is_not_green():
    slower = run_json(latency_us=1300.0)  # one run without windows
    comparison = compare(
        result_json(run_json(), run_json(concurrency=2)), result_json(slower)
    )

    judged = judge(comparison, parse_conditions("p50>+5%,ttft_p50>+5%"))

    assert [j.failure for j in judged] == [
        "p50 changed by +30.0 %; how much of it is noise is not known "
        "(perf --repeat 5)",
        "ttft_p50 is not in both results",
        "after.json has no complete run of this load",
        "after.json has no complete run of this load",
    ]


@pytest.mark.parametrize("text", ["p99", "p98>+5%", "p99>5", "p99>=+5%", ""])
def test_conditions_that_cannot_be_read(text):
    with pytest.raises(SpecError):
        parse_conditions(text)


def test_more_errors_are_found():
    comparison = compare(result_json(run_json()), result_json(run_json(errors=100)))

    [errors] = [d for d in comparison.loads[0].differences if d.figure == "errors"]

    assert errors.outcome == "worse"
    assert errors.change == pytest.approx(0.02)


def test_junit_has_a_case_for_each_condition():
    rng = np.random.default_rng(3)
    comparison = compare(
        result_json(*noisy_runs(rng)), result_json(*noisy_runs(rng, scale=1.5))
    )

    suite = ElementTree.fromstring(
        junit_report(comparison, judge(comparison, parse_conditions("p50>5%,p50<0%")))
    )

    assert suite.attrib["tests"] == "2"
    assert suite.attrib["failures"] == "1"
    assert [case.find("failure") is None for case in suite] == [False, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "names no schema"),
        ('{"schema": "triton-kit.perf/1"}', "'triton-kit.perf/1'"),
        ('{"schema": "triton-kit.perf/2"}', "spec: field required"),
        ("{", "not JSON"),
    ],
)
def test_files_that_are_no_results(kit, tmp_path, content, message):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(result_json(run_json())))
    bad.write_text(content)

    result = kit("compare", good, bad)

    assert result.exit_code == 2
    assert message in result.output
    assert "bad.json" in result.output


def test_the_command_says_what_fails_and_exits_with_1(kit, tmp_path):
    rng = np.random.default_rng(4)
    for name, scale in (("before", 1), ("after", 1.3)):
        runs = noisy_runs(rng, between=0.01, scale=scale)
        (tmp_path / f"{name}.json").write_text(json.dumps(result_json(*runs)))

    command = ("compare", tmp_path / "before.json", tmp_path / "after.json")
    result = kit(*command, "--fail-if", "p99>+5%")

    assert result.exit_code == 1
    assert "FAILED p99>+5%: closed, concurrency 1: p99 changed by +" in result.output
    assert kit(*command).exit_code == 0
    markdown = kit(*command, "--format", "markdown").output
    assert "| p99 |" in markdown
    assert json.loads(kit(*command, "--json").output)["loads"][0]["runs"] == [5, 5]

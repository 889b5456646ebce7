"""Objectives: one figure or several, and those that the server does not tell."""

import pytest

from triton_kit.errors import SpecError
from triton_kit.tuning.objective import parse_objective

FIGURES = {"throughput": 100.0, "p95": 2000.0}


def test_more_throughput_and_less_latency_are_better():
    throughput, latency = parse_objective("throughput"), parse_objective("latency")

    assert throughput.value(FIGURES) == pytest.approx(100)
    assert latency.value({"p95": 1000.0}) > latency.value(FIGURES)


def test_weights_weigh_changes():
    both = parse_objective("throughput=3,p95=1")
    before = both.value(FIGURES)

    more = both.value(FIGURES | {"throughput": 110.0})
    slower = both.value(FIGURES | {"p95": 2200.0})

    assert more / before == pytest.approx(1.1**0.75)
    assert slower / before == pytest.approx(1.1**-0.25)


def test_a_figure_that_is_not_known_is_an_error_with_what_it_needs():
    with pytest.raises(SpecError, match="joules is not known") as error:
        parse_objective("joules").value(FIGURES)

    assert "GPU" in error.value.hint


@pytest.mark.parametrize(
    "text", ["", "speed", "throughput=x", "throughput=0", "p95,p95", "throughput=nan"]
)
def test_an_objective_that_makes_no_sense_is_refused(text):
    with pytest.raises(SpecError):
        parse_objective(text)

"""What a response may be: cached, decoupled, measured."""

from __future__ import annotations

import re

from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.triton.schema import Message

_TAG = re.compile(r"([A-Za-z0-9][A-Za-z0-9_]*)?")


def check_transaction(case: Case) -> Problems:
    """C1: a cached response is one response."""
    config = case.config
    if config.model_transaction_policy.decoupled and config.response_cache.enable:
        yield Problem(
            "C1",
            f"Response Cache does not currently support model {case.name} with "
            "'decoupled' transaction policy. Please disable the response cache.",
            at=("response_cache",),
            hint="remove response_cache, or decoupled: true",
        )


def check_metric_tags(case: Case) -> Problems:
    """N5: a tag becomes a label of Prometheus, with an underscore before it."""
    for key in sorted(case.config.metric_tags):
        if not _TAG.fullmatch(key):
            yield Problem(
                "N5",
                at=("metric_tags", key),
                message=f"the server aborts on the metric tag {key!r}: it is no label",
                hint="use letters, digits and underscores, and no underscore first",
            )


def check_metrics(case: Case) -> Problems:
    """N1 to N4: histograms of a model's own; servers before 2.52 lack them."""
    for number, control in enumerate(case.config.model_metrics.metric_control):
        problem = _metric(control, ("model_metrics", "metric_control", number))
        if problem is not None:
            yield problem
            return


def _metric(control: Message, at: tuple[str | int, ...]) -> Problem | None:
    if not control.HasField("metric_identifier"):
        text = "metric control must specify 'metric_identifier'"
        return Problem(
            "N1", text, at=at, hint='add metric_identifier { family: "..." }'
        )
    if not control.metric_identifier.family:
        text = "metric identifier must specify non-empty 'family'"
        return Problem("N2", text, at=(*at, "metric_identifier"))
    if not control.HasField("histogram_options"):
        text = "metric control must specify 'histogram_options'"
        return Problem(
            "N3", text, at=at, hint="add histogram_options { buckets: [...] }"
        )
    if not control.histogram_options.buckets:
        text = "histogram options must specify non-empty 'buckets'"
        return Problem("N4", text, at=(*at, "histogram_options"))
    return None

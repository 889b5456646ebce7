"""Which settings a server would refuse, or which do nothing: those are never tried."""

from __future__ import annotations

from collections.abc import Callable

from triton_kit.errors import SpecError
from triton_kit.tuning.model_fields import BATCH_SIZE, Config, read_field
from triton_kit.tuning.space import Settings
from triton_kit.tuning.subject import Subject, is_ensemble

# Looks at the configurations of all models; tells why a server would refuse them.
CheckConfigs = Callable[[dict[str, Config]], str]


def why_illegal(
    subject: Subject, settings: Settings, check: CheckConfigs = lambda _: ""
) -> str:
    """Return why settings cannot be tried; empty if they can."""
    try:
        configs = subject.configured(settings)
    except SpecError as error:
        return error.message
    fields = subject.by_model(settings)
    for name in fields:
        fault = _batching_fault(configs[name], set(fields[name]))
        if fault:
            return f"{name}: {fault}" if subject.is_pipeline else fault
    return (
        _pipeline_fault(configs)
        or _client_batch_fault(subject, settings, configs)
        or check(configs)
    )


def _batching_fault(config: Config, changed: set[str]) -> str:
    largest = int(config.get("max_batch_size") or 0)
    batching = config.get("dynamic_batching")
    if batching is None:
        return ""
    if "sequence_batching" in config:
        return "a model with sequence_batching has no queue delay"
    if largest < 1:
        return "max_batch_size is 0, so that there is nothing to batch"
    sizes = [int(size) for size in batching.get("preferred_batch_size") or ()]
    if any(size > largest for size in sizes):
        return f"preferred {max(sizes)} exceeds max_batch_size {largest}"
    if (
        largest == 1
        and "queue_delay_us" in changed
        and read_field(config, "queue_delay_us")
    ):
        return "a queue delay without batches only delays"
    return ""


def _pipeline_fault(configs: dict[str, Config]) -> str:
    """Triton refuses a step that takes smaller batches than its ensemble."""
    for name, config in configs.items():
        if not is_ensemble(config):
            continue
        largest = int(config.get("max_batch_size") or 0)
        for step in config["ensemble_scheduling"].get("step", []):
            own = int(configs[step["model_name"]].get("max_batch_size") or 0)
            if own < largest:
                return (
                    f"max_batch_size {own} of step {step['model_name']!r} is below "
                    f"the {largest} of {name!r}"
                )
    return ""


def _client_batch_fault(
    subject: Subject, settings: Settings, configs: dict[str, Config]
) -> str:
    size = settings.get(BATCH_SIZE, 1)
    largest = int(configs[subject.model].get("max_batch_size") or 0)
    if isinstance(size, int) and size > max(largest, 1):
        return f"batch_size {size} of a request exceeds max_batch_size {largest}"
    return ""

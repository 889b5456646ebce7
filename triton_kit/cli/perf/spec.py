"""The options of `triton-kit perf` become a PerfSpec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any  # Any: each option has its own type

from triton_kit.cli.output import notice
from triton_kit.cli.perf.data import DataOptions
from triton_kit.cli.perf.duration import DurationOptions
from triton_kit.cli.perf.group import from_options
from triton_kit.cli.perf.llm import LlmOptions
from triton_kit.cli.perf.load import DUE_TIMES, LoadOptions
from triton_kit.cli.perf.objectives import ObjectiveOptions
from triton_kit.cli.perf.perf_analyzer import with_current_options
from triton_kit.cli.perf.sequences import SequenceOptions
from triton_kit.cli.perf.server import ServerOptions
from triton_kit.cli.perf.target import TargetOptions
from triton_kit.cli.perf.transport import TransportOptions
from triton_kit.errors import SpecError

if TYPE_CHECKING:
    from triton_kit.loadtest.spec import PerfSpec


def perf_spec(options: Mapping[str, Any], *, keep_times: bool = False) -> PerfSpec:
    """Return the spec that these options ask for.

    Raises:
        SpecError: options contradict each other, or one of them is impossible.
    """
    from triton_kit.loadtest.spec import PerfSpec

    options = with_current_options(options)
    _refuse_options_without_effect(options)
    target = from_options(TargetOptions, options)
    load = from_options(LoadOptions, options)
    duration = from_options(DurationOptions, options)
    objectives = from_options(ObjectiveOptions, options)
    data = from_options(DataOptions, options)
    server = from_options(ServerOptions, options)
    transport = from_options(TransportOptions, options)
    sequences = from_options(SequenceOptions, options)
    llm = from_options(LlmOptions, options)
    protocol, seed = target.protocol, data.seed
    fields = {
        **target.fields(),
        **load.fields(protocol=protocol, seed=seed),
        **duration.fields(
            percentile_is_used=objectives.has_threshold or bool(options["csv_path"])
        ),
        **objectives.fields(is_endless=load.is_endless),
        **data.fields(),
        **server.fields(url=target.url),
        "sequences": sequences.sequences(seed),
        "generation": llm.generation(),
        "transport": transport.transport(protocol=protocol, url=target.url),
        "keep_times": keep_times,
    }
    fields |= load.replay_fields(fields, has_length=duration.is_given)
    if not target.models:
        fields["model"] = only_model(PerfSpec(**fields | {"model": "any"}))
    return PerfSpec(**fields)


def only_model(spec: PerfSpec) -> str:
    """Return the only model of the server, and name it to the user.

    Raises:
        SpecError: the server has none, or several.
    """
    from triton_kit.loadtest.run.served_models import find_only_model

    model = find_only_model(spec)
    notice(f"model {model}, the only one of the server")
    return model


def _refuse_options_without_effect(options: Mapping[str, Any]) -> None:
    """Refuse an option, at another value than its default, that would do nothing."""
    _refuse_two_lengths(options)
    for has_no_effect, name, needs in _needs(options):
        if has_no_effect:
            raise SpecError(f"{name} has no effect without {needs}")


def _refuse_two_lengths(options: Mapping[str, Any]) -> None:
    if options["interval_ms"] is None:
        return
    given = f"-p {options['interval_ms']}, but"
    if options["periodic_concurrency_range"] is not None:
        raise SpecError(
            f"{given} a periodic load ends with its last level",
            hint="--request-period is the number of responses of a level",
        )
    if options["stages"] is not None:
        raise SpecError(
            f"{given} --stages says how long to measure", hint="leave out -p"
        )


def _needs(options: Mapping[str, Any]) -> Iterator[tuple[bool, str, str]]:
    """Yield whether an option has no effect, its name, and the option that it needs."""
    is_closed = all(options[name] in (None, False) for name in DUE_TIMES)
    has_rate = (
        options["request_rate_range"] is not None or options["stages"] is not None
    )
    due_times = "--request-rate-range or another load with due times"
    yield (
        options["request_distribution"] != "constant" and not has_rate,
        "--request-distribution",
        "--request-rate-range or --stages",
    )
    yield (
        options["request_period"] != 10
        and options["periodic_concurrency_range"] is None,
        "--request-period",
        "--periodic-concurrency-range",
    )
    yield options["precise"] and is_closed, "--precise", due_times
    is_other = options["most_in_flight"] != 1024
    yield is_other and is_closed, "--max-in-flight", due_times
    yield (
        options["output_bytes"] is not None and options["shared_memory"] == "none",
        "--output-shared-memory-size",
        "--shared-memory",
    )

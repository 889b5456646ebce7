"""One trial: settings are loaded, warmed up and measured."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any  # JSON

from triton_kit.errors import ServerError, SpecError, TransportError, TritonKitError
from triton_kit.loadtest.loops.load import ClosedLoad, Load, RateLoad
from triton_kit.loadtest.record.stability import StopRule
from triton_kit.loadtest.results.run import Run
from triton_kit.loadtest.results.slo import Objective
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.run.served_models import fetch_served_models
from triton_kit.loadtest.run.single_request import send_one
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.tuning.evidence import margin
from triton_kit.tuning.limits import Bottleneck, find_bottleneck
from triton_kit.tuning.model_fields import BATCH_SIZE, CONCURRENCY, REQUEST_RATE
from triton_kit.tuning.objective import TuneObjective
from triton_kit.tuning.server import TunedServer
from triton_kit.tuning.space import Settings
from triton_kit.tuning.variants import RefusedVariantError, Variant, Variants

# Of the shortest measurement: windows, and how long one is at least. A window has time
# for a few responses one after the other.
_WINDOWS = 6
_WINDOW_S = 0.1
_RESPONSES_PER_WINDOW = 4
_LONGEST_WINDOW_S = 5.0
_WARM_UP_S = 0.15
# How long the requests may take that meet each batch size once, on a GPU and a CPU.
_MEET_WITHIN_S = {True: 15.0, False: 2.0}
_FAILED = 0.01  # a larger share of failed requests is no measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPlace:
    """Where a trial ran that had cores of its own.

    Attributes:
        node: of a cluster; empty: this machine.
        process: the id of the process that held the server and sent the load.
        cores: of the server and the load, by their numbers on that machine.
        gpus: that the server sees, as CUDA_VISIBLE_DEVICES names them; empty: it has
            none of its own.
    """

    node: str = ""
    process: int
    cores: tuple[int, ...]
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneTrial:
    """What a trial found.

    Attributes:
        failure: why there are no figures; empty if there are.
        value: the objective, more is better; 0 if it failed.
        margins: of each bound, as `evidence.margin`.
        figures: by name, as `objective.FIGURES`; `errors`, a share of `requests`.
        bottleneck: what limits the throughput; None if it failed.
        verdict: what `perf` says of the run.
        cold_batch_sizes: batch sizes that were first run while it was measured.
        refused: settings that no model can be converted with; empty: it was, or need
            not be.
        convert_s, load_s, warm_up_s, measure_s, cost_s: how long the parts took, and
            all of it.
        where: it ran; None: on the one server of the search.
    """

    failure: str = ""
    value: float = 0.0
    margins: tuple[float, ...] = ()
    figures: Mapping[str, float]
    bottleneck: Bottleneck | None = None
    verdict: str = ""
    cold_batch_sizes: tuple[int, ...] = ()
    refused: Settings = field(default_factory=dict)
    convert_s: float = 0.0
    load_s: float = 0.0
    warm_up_s: float = 0.0
    measure_s: float = 0.0
    cost_s: float = 0.0
    where: TrialPlace | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the trial as a line of the checkpoint has it."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TuneTrial:
        """Read what `as_json` wrote."""
        limit, where = content["bottleneck"], content.get("where")
        if where:
            numbers, gpus = tuple(where["cores"]), tuple(where.get("gpus", ()))
            where = TrialPlace(**{**where, "cores": numbers, "gpus": gpus})
        return cls(
            **{
                **content,
                "margins": tuple(content["margins"]),
                "cold_batch_sizes": tuple(content["cold_batch_sizes"]),
                "bottleneck": Bottleneck(**limit) if limit else None,
                "where": where or None,
            }
        )


class TrialRunner:
    """Runs trials on one server, which keeps running between them.

    Args:
        server: what loads the settings.
        variants: what converts models for a trial; None: no setting needs it.
        base: what is measured: address, model, input data; loads have no effect.
        objective: what counts.
        slo: what every point must keep.
    """

    def __init__(
        self,
        server: TunedServer,
        base: PerfSpec,
        objective: TuneObjective,
        slo: tuple[Objective, ...],
        variants: Variants | None = None,
    ) -> None:
        self._server, self._base, self._variants = server, base, variants
        self._objective, self._slo = objective, slo

    def run(
        self, settings: Settings, effort: float, *, afresh: bool = False
    ) -> TuneTrial:
        """Run a trial; a server that dies, or refuses the settings, makes it fail.

        Args:
            settings: what to load, and the load.
            effort: as in `evidence.Ask`.
            afresh: start the server anew before, if it is the kit's.

        Raises:
            SpecError: the model cannot be measured at all: no input data fits it.
            ServerError: the server is gone for good.
        """
        began_s = time.monotonic()
        if afresh:
            self._server.start_anew()
        self._server.require_alive()
        try:
            trial = self._run(settings, effort)
        except RefusedVariantError as error:
            trial = TuneTrial(
                failure=_in_one_line(error), figures={}, refused=error.settings
            )
        except (ServerError, TransportError) as error:
            self._server.forget_loaded()
            trial = TuneTrial(failure=_in_one_line(error), figures={})
        return replace(trial, cost_s=round(time.monotonic() - began_s, 3))

    def _run(self, settings: Settings, effort: float) -> TuneTrial:
        times = [time.monotonic()]
        made = self._convert(settings)
        times.append(time.monotonic())
        self._server.apply(settings, made)
        times.append(time.monotonic())
        spec = replace(
            self._base,
            url=self._server.url,
            server_pid=self._server.pid,
            metrics_url=self._server.metrics_url,
            batch_size=_integer(settings.get(BATCH_SIZE, 1)),
            loads=(_load(settings),),
        )
        request_s = self._meet_batch_sizes(spec)
        times.append(time.monotonic())
        result = measure(_for_effort(spec, effort, request_s))
        if result.was_interrupted:
            raise KeyboardInterrupt
        times.append(time.monotonic())
        convert_s, load_s, warm_up_s, measure_s = (
            round(late - early, 3) for early, late in pairwise(times)
        )
        trial = self._trial(result.runs[0])
        known = [v.snr_db for v in made.values() if v.snr_db is not None]
        accuracy = {"snr_db": min(known)} if known else {}
        return replace(
            trial,
            figures={**trial.figures, **accuracy},
            convert_s=convert_s,
            load_s=load_s,
            warm_up_s=warm_up_s,
            measure_s=measure_s,
        )

    def _convert(self, settings: Settings) -> dict[str, Variant]:
        """Return the variants of models that are not as the repository has them."""
        if self._variants is None:
            return {}
        subject = self._server.subject
        try:
            return self._variants.make_all(subject.by_model(settings))
        except RefusedVariantError as error:
            named = {
                subject.named(error.model, name): value
                for name, value in error.settings.items()
            }
            raise RefusedVariantError(error, error.model, named) from error

    def _meet_batch_sizes(self, spec: PerfSpec) -> float:
        """Send a request of each batch size in reach; return the time of a later one.

        The first run of a size takes up to a second on a GPU; on a CPU it is like any
        other, and powers of two are enough. Sizes that were met since the model was
        loaded are not met again.
        """
        with fetch_served_models(spec) as served:
            largest = served.each[0].model.max_batch_size or 1
        reach = spec.batch_size * (spec.loads[0].concurrency or largest)
        most = min(largest, reach)
        is_on_gpu = self._server.is_on_gpu
        steps = range(1, most + 1) if is_on_gpu else _doubling(most)
        wanted = {size for size in steps if size >= spec.batch_size}
        met = self._server.met_batch_sizes
        deadline_s = time.monotonic() + _MEET_WITHIN_S[is_on_gpu]
        for size in sorted(wanted - met):
            if time.monotonic() > deadline_s:
                break
            _request_s(replace(spec, batch_size=size))
            met.add(size)
        return _request_s(spec)

    def _trial(self, run: Run) -> TuneTrial:
        figures = _figures(run, self._server.memory_bytes())
        failure = run.ended_early or ""
        if not failure and figures["errors"] > max(
            [_FAILED, *(o.bound for o in self._slo if o.what == "errors")]
        ):
            failure = run.verdict.reason or "requests failed"
        if not failure and not figures["throughput"]:
            failure = "no request ended while it was measured"
        stats = run.server[0] if run.server else None
        return TuneTrial(
            failure=failure,
            value=0.0 if failure else self._objective.value(figures),
            margins=() if failure else tuple(_margin(o, run) for o in self._slo),
            figures=figures,
            bottleneck=None if failure else find_bottleneck(run, self._server.counts),
            verdict=str(run.verdict),
            cold_batch_sizes=tuple(stats.first_batch_sizes) if stats else (),
        )


def _in_one_line(error: TritonKitError) -> str:
    return " ".join(error.message.split())


def _request_s(spec: PerfSpec) -> float:
    """Send one request; return how long it took."""
    with fetch_served_models(spec) as served:
        return send_one(served, within_s=60.0).latency_ms / 1e3


def _doubling(most: int) -> list[int]:
    """Return 1, 2, 4 and so on, and the largest."""
    return [*(2**n for n in range(most.bit_length()) if 2**n < most), most]


def _margin(objective: Objective, run: Run) -> float:
    value = objective.value(run)
    return margin(value, objective.bound, is_rate=objective.is_rate)


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise SpecError(f"{value!r} is no whole number")
    return value


def _load(settings: Settings) -> Load:
    rate = settings.get(REQUEST_RATE)
    if isinstance(rate, int | float):
        return RateLoad(rate_hz=float(rate))
    return ClosedLoad(_integer(settings.get(CONCURRENCY, 1)))


def _for_effort(spec: PerfSpec, effort: float, request_s: float) -> PerfSpec:
    """Set how long to measure: longer where a response takes long."""
    window_s = min(_LONGEST_WINDOW_S, max(_WINDOW_S, _RESPONSES_PER_WINDOW * request_s))
    return replace(
        spec,
        warm_up_s=max(_WARM_UP_S, min(window_s, 1.0)),
        stability=StopRule(
            kind="confident",
            window_s=window_s * effort,
            tolerance=0.02,
            most_windows=_WINDOWS,
        ),
    )


def _figures(run: Run, memory_bytes: int | None) -> dict[str, float]:
    latency = run.recording.latency
    figures = {
        "throughput": run.throughput,
        "requests": float(run.recording.total),
        "errors": run.errors / run.recording.total if run.recording.total else 1.0,
        "mean": latency.mean_ns / 1e3 if latency.count else 0.0,
        **{
            f"p{share}": latency.quantile_ns(share / 100) / 1e3
            if latency.count
            else 0.0
            for share in (50, 90, 95, 99)
        },
    }
    if run.cpu.server_s:
        inferences = run.throughput * run.window_s
        figures["efficiency"] = inferences / run.cpu.server_s
    joules = [gpu.energy_per_inference_j for gpu in run.gpus]
    if joules and all(joules):
        figures["joules"] = sum(each or 0.0 for each in joules)
    if memory_bytes:
        figures["memory"] = float(memory_bytes)
    return figures

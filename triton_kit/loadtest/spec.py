"""What to measure: one frozen spec that is valid, or does not exist."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.loadtest.generation_spec import GenerationSpec
from triton_kit.loadtest.inputs.draws import StringData
from triton_kit.loadtest.loops.load import ClosedLoad as ClosedLoad
from triton_kit.loadtest.loops.load import Load as Load
from triton_kit.loadtest.loops.mix import ModelShare as ModelShare
from triton_kit.loadtest.loops.sequences import Sequences
from triton_kit.loadtest.option_texts import check_headers
from triton_kit.loadtest.record.stability import StopRule, confident, fixed
from triton_kit.loadtest.request import Parameter
from triton_kit.loadtest.results.slo import Objective
from triton_kit.loadtest.sweep_spec import Variant
from triton_kit.loadtest.transport_spec import (
    OPENAI_ENDPOINTS,
    TransportSpec,
    connections_for,
)
from triton_kit.tensors import Shape
from triton_kit.triton.address import Address, parse_address

if TYPE_CHECKING:
    from triton_kit.loadtest.inputs.data import Array

DEFAULT_PORTS = {"http": 8000, "grpc": 8001}


@dataclass(frozen=True, slots=True, kw_only=True)
class PerfSpec:
    """One measurement: a model at a URL under one load after another.

    Attributes:
        url: `HOST:PORT`, with a scheme and a path prefix where there is one.
        more_urls: of further servers; requests go to all of them in turn.
        model: name of the model or pipeline.
        models: several models instead, each with a share of the requests.
        version: which version; the server chooses when empty.
        protocol: `http` or `grpc`.
        loads: measured one after another, each with a result of its own.
        batch_size: inferences per request.
        shapes: input -> shape; needed for inputs whose shape varies.
        sweep: batch sizes and shapes to measure instead, each with every load.
        input_data: `random`, `zero`, or the path of a folder, an .npz, .npy or JSON
            file; or several such words, of which `NAME:...` is for one input
            (`input_choice`).
        string_data: what random strings are.
        samples: input -> values to send in place of random ones, taken in turn: an
            array whose first axis counts the samples, of which each request takes
            `batch_size` (one, and without that axis, where the model does not batch).
        repeats: measure all loads this many times, one round after the other.
        measurement_interval_s: how long each load is measured; None is until the
            figures are known well enough (`stability.confident`).
        stability: measure windows of `measurement_interval_s` until they agree.
        request_count: measure this many requests instead.
        warm_up_s: how long each load runs before it is measured.
        warm_up_requests: send this many requests instead.
        most_in_flight: of an open loop; requests beyond it wait, which counts.
        precise: spin before each request is due: less lag, a whole core.
        real_time: send at real-time priority, so that due times are kept on cores that
            the server keeps busy; for open loops. The system must grant it.
        drain_within_s: how long an open loop waits for its last responses; a closed
            one waits for `request_timeout_s`.
        request_timeout_s: a request without a response by then has failed.
        stall_timeout_s: the measurement ends when the server has sent nothing for this
            long while requests were in flight; None is 30 s, or the request timeout if
            that is longer.
        time_limit_s: the measurement ends after this long, if it has not before.
        slo: what every run must keep; the result says where one does not.
        search: `every` load, `until-missed` (an objective), or `binary`, for the
            highest load that meets the objectives.
        keep_times: keep the times of every request, 32 bytes each, and of every
            response of a stream, for an export.
        seed: of the random data; the same seed sends the same bytes.
        headers: further HTTP headers, or gRPC metadata.
        parameters: of every request, such as `priority` or `timeout`.
        streaming: send each request on a stream of its own (gRPC), as decoupled models
            need; those get it without asking.
        metrics_url: the server's Prometheus endpoint; None leaves it alone.
        metrics_interval_s: how often it is asked during a run.
        server_pid: the server's process on this machine; None finds it by its port.
        composing: models that the model calls, as `NAME` or `NAME:VERSION`, whose
            statistics are to stand beside its own; steps of ensembles do anyway.
        sequences: for stateful models; a closed load keeps one in each slot.
        generation: prompts for a language model, which `input_data` may name; its
            responses are measured token by token.
        processes: how many processes share each load.
        transport: how requests travel: TLS, compression, shared memory.
    """

    url: str
    more_urls: tuple[str, ...] = ()
    model: str = ""
    models: tuple[ModelShare, ...] = ()
    version: str = ""
    protocol: str = "http"
    loads: tuple[Load, ...] = (ClosedLoad(1),)
    batch_size: int = 1
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    sweep: tuple[Variant, ...] = ()
    input_data: str | Sequence[str] = "random"
    string_data: StringData = field(default_factory=StringData)
    samples: Mapping[str, Array] = field(default_factory=dict)
    repeats: int = 1
    measurement_interval_s: float | None = 5.0
    stability: StopRule | None = None
    request_count: int | None = None
    warm_up_s: float = 0.5
    warm_up_requests: int | None = None
    most_in_flight: int = 1024
    precise: bool = False
    real_time: bool = False
    drain_within_s: float = 10.0
    request_timeout_s: float = 60.0
    stall_timeout_s: float | None = None
    time_limit_s: float | None = None
    slo: tuple[Objective, ...] = ()
    search: str = "every"
    keep_times: bool = False
    seed: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    parameters: dict[str, Parameter] = field(default_factory=dict)
    sequences: Sequences | None = None
    generation: GenerationSpec | None = None
    streaming: bool = False
    metrics_url: str | None = None
    metrics_interval_s: float = 1.0
    composing: tuple[str, ...] = ()
    server_pid: int | None = None
    transport: TransportSpec = field(default_factory=TransportSpec)
    processes: int = 1

    def __post_init__(self) -> None:
        if self.protocol not in DEFAULT_PORTS:
            raise SpecError(
                f"unknown protocol {self.protocol!r}",
                hint=did_you_mean(self.protocol, DEFAULT_PORTS),
            )
        self._check_urls()
        check_headers(self.headers, self.protocol)
        self._check_generation()
        if self.protocol == "http" and (self.transport.connections or 1) > 1:
            raise SpecError(
                f"{self.transport.connections} connections over HTTP, "
                "which has one for each request in flight",
                hint="-i grpc, or leave --connections out",
            )
        if self.protocol == "grpc" and self.transport.tensor_format != "auto":
            raise SpecError(
                f"tensor format {self.transport.tensor_format} over gRPC, which has "
                "binary tensors only",
                hint="-i http, or leave --tensor-format out",
            )
        self._check_models()
        self._check_loads()
        if self.search != "every" and not self.slo:
            raise SpecError(
                f"a search ({self.search}) needs an objective to search for",
                hint="--latency-threshold MS, or --slo 'p99<20ms'; a range whose END "
                "is 0 is a search, too",
            )
        if self.search != "every" and self.repeats > 1:
            raise SpecError(
                f"a search ({self.search}) ends with one load: it cannot be repeated "
                f"{self.repeats} times",
                hint="search first, then repeat the load that was found",
            )
        self._check_numbers()

    def _check_urls(self) -> None:
        self.address  # noqa: B018  raises where the URL is none
        if not self.more_urls:
            return
        names = [str(server.address) for server in self.servers]
        if len(set(names)) < len(names):
            raise SpecError(f"a server is named twice: {', '.join(names)}")
        if self.transport.shared_memory != "none":
            raise SpecError(
                f"memory can be shared with one server, not with {len(names)}",
                hint="leave out --shared-memory, or give one -u",
            )

    def _check_generation(self) -> None:
        endpoint = self.transport.endpoint
        streams = ("generate_stream", *OPENAI_ENDPOINTS)
        if self.streaming and self.protocol == "http" and endpoint not in streams:
            raise SpecError(
                "--streaming is a stream of gRPC, and the protocol is HTTP",
                hint=f"-i grpc and the gRPC port, or --endpoint {', '.join(streams)}",
            )
        if self.generation is not None:
            self._check_prompts()
        else:
            if endpoint in OPENAI_ENDPOINTS:
                raise SpecError(f"endpoint {endpoint!r} needs prompts: `generation`")
            for objective in self.slo:
                if objective.needs_tokens:
                    raise SpecError(
                        f"objective {objective.text!r} needs prompts for a language "
                        "model",
                        hint="--endpoint chat, or --input-tokens for other streams",
                    )

    def _check_prompts(self) -> None:
        """Refuse what is for tensors only."""
        size = max(variant.batch_size for variant in self.variants)
        if size > 1:
            raise SpecError(
                f"batch size {size}: a request to a language model has one prompt",
                hint="leave -b out; --concurrency-range N sends N prompts at once",
            )
        if names := {name for variant in self.variants for name in variant.shapes}:
            raise SpecError(
                f"shape of {', '.join(sorted(names))}: prompts have no shape",
                hint="leave --shape out; --input-tokens N sets the length of generated "
                "prompts",
            )
        if self.sequences is not None:
            raise SpecError(
                "sequences are for stateful models, and the load has prompts",
                hint="--session-turns N",
            )

    def _check_models(self) -> None:
        names = [share.model for share in self.models]
        if not self.model and not names:
            raise SpecError("no model named", hint="-m NAME")
        if self.model and names:
            raise SpecError(f"both one model ({self.model!r}) and several are named")
        if len(set(names)) < len(names):
            raise SpecError(f"a model is named twice: {', '.join(names)}")
        if len(names) == 1:
            raise SpecError(
                f"a share for one model only ({names[0]!r}): name it `model`"
            )
        alone = {
            "sequences": self.sequences,
            "samples": self.samples,
            "prompts": self.generation,
            "a sweep": self.sweep,
        }
        for what, is_given in alone.items():
            if is_given and names:
                raise SpecError(f"{what} need a run with one model, not {len(names)}")

    def _check_loads(self) -> None:
        if not self.loads:
            raise SpecError("no load to measure")
        is_periodic = any(load.levels for load in self.loads)
        if is_periodic and self.processes > 1:
            raise SpecError("the levels of a periodic load need a single process")
        if is_periodic and (self.request_count or self.stability):
            raise SpecError(
                "a periodic load ends with its last level, not by count or stability",
                hint="leave out --request-count, -s, -r and --percentile; "
                "--request-period is the number of responses of a level",
            )
        has_stages = any(load.stages for load in self.loads)
        if has_stages and (self.request_count or self.stability):
            raise SpecError(
                "stages end with the last of them, not by count or stability",
                hint="leave out --request-count, -s, -r and --percentile",
            )
        if self.real_time:
            self._check_real_time()
        if self.sequences is not None:
            for load in self.loads:
                concurrent = load.concurrency or self.sequences.at_a_time
                each = -(-concurrent // self.processes)
                self.sequences.check_room(each * self.processes)

    def _check_real_time(self) -> None:
        closed = [load for load in self.loads if load.concurrency is not None]
        if closed:
            raise SpecError(
                "real-time priority is for requests that are due at a time, "
                f"those of {closed[0]} are not",
                hint="--request-rate-range, or leave --real-time out",
            )
        if self.precise:
            raise SpecError(
                "a client that spins at real-time priority would keep the server "
                "from its core",
                hint="--precise or --real-time, not both",
            )

    def _check_numbers(self) -> None:
        for what, value, least in (
            *(("batch size", each.batch_size, 1) for each in self.variants),
            ("request count", self.request_count, 1),
            ("warm-up", self.warm_up_s, 0),
            ("warm-up requests", self.warm_up_requests, 1),
            ("drain time", self.drain_within_s, 0),
            ("seed", self.seed, 0),
            ("most in flight", self.most_in_flight, 1),
            ("processes", self.processes, 1),
        ):
            if value is not None and not least <= value < math.inf:
                raise SpecError(f"{what} {value:g}: need {least} or more, and finite")
        for what, value in (
            ("measurement interval", self.measurement_interval_s),
            ("request timeout", self.request_timeout_s),
            ("stall timeout", self.stall_timeout_s),
            ("time limit", self.time_limit_s),
        ):
            if value is not None and not 0 < value < math.inf:
                raise SpecError(f"{what} {value:g} s: need more than 0, and finite")

    @property
    def servers(self) -> tuple[PerfSpec, ...]:
        """What is measured of each server, one spec for each."""
        if not self.more_urls:
            return (self,)
        urls = (self.url, *self.more_urls)
        return tuple(replace(self, url=url, more_urls=()) for url in urls)

    @property
    def parts(self) -> tuple[PerfSpec, ...]:
        """What is measured of each model, one spec for each."""
        return tuple(self._part(share) for share in self.models) or (self,)

    def _part(self, share: ModelShare) -> PerfSpec:
        own: dict[str, Any] = {
            "version": share.version,
            "batch_size": share.batch_size,
            "shapes": share.shapes,
            "input_data": share.input_data,
        }
        given = {name: value for name, value in own.items() if value is not None}
        return replace(self, models=(), model=share.model, **given)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The batch sizes and shapes to measure one after another."""
        return self.sweep or (Variant(batch_size=self.batch_size, shapes=self.shapes),)

    def of_variant(self, variant: Variant) -> PerfSpec:
        """Return what is measured with one batch size and shape."""
        size, shapes = variant.batch_size, variant.shapes
        return replace(self, sweep=(), batch_size=size, shapes=shapes)

    @property
    def stop(self) -> StopRule:
        """When a load has been measured long enough."""
        if self.stability is not None:
            return self.stability
        if self.measurement_interval_s is None:
            return confident()
        return fixed(self.measurement_interval_s)

    @property
    def connections(self) -> int:
        """Over gRPC, how many each process has, if the server's limits allow it."""
        wanted = self.transport.connections
        return wanted or connections_for(os.cpu_count() or 1, self.processes)

    @property
    def address(self) -> Address:
        """Where the server is."""
        port = DEFAULT_PORTS[self.protocol]
        address = parse_address(self.url, default_port=port, tls=self.transport.tls)
        if address.path and self.protocol == "grpc":
            raise SpecError(
                f"gRPC URLs have no path, found {address.path!r}",
                hint=f"-u {address.authority}; a gateway that routes by name reads "
                "-H 'Host: NAME'",
            )
        return address

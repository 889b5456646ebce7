"""What to serve, and how: one value that is valid or does not exist."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from triton_kit.errors import SpecError
from triton_kit.serving.access import Access
from triton_kit.serving.allocator import Allocator
from triton_kit.serving.features import Features
from triton_kit.serving.onnxruntime_backend import OnnxruntimeChoice
from triton_kit.serving.spec_checks import (
    check_choice,
    check_flags,
    check_models,
    check_ports,
    check_variables,
)

ModelControl = Literal["none", "explicit", "poll"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSpec:
    """One launch of a Triton server, on this machine or in a container.

    Attributes:
        repository: the folder with one folder per model.
        more_repositories: more of them; a model is in one of all.
        http_port, grpc_port, metrics_port: 1-65535; None is a free one.
        model_control: as tritonserver's `--model-control-mode`.
        models: the models to load, for `explicit`: ("*",) is all, () is none.
        strict_model_config: take every config.pbtxt as it is; nothing is filled in.
        ready_within_s: how long starting, and loading every model, may take.
        stop_within_s: how long in-flight requests may take once it shall stop.
        allocator: what the server allocates memory with.
        onnxruntime_backend: auto is the one in C where it can be compiled.
        log: where the server's output goes; None is a file that ends with it.
        flags: any other tritonserver flags, as written on its command line.
        access: addresses, keys, TLS and limits.
        features: cache, traces, logs, memory and other settings of the whole server.
        exit_on_error: end the server if a model does not load; False leaves it up, so
            that the reasons of all models can be read.
        variables: environment variables for the server and its Python models, beyond
            those that every server gets: NAME (as it is here) or NAME=VALUE.
    """

    repository: Path
    more_repositories: tuple[Path, ...] = ()
    http_port: int | None = None
    grpc_port: int | None = None
    metrics_port: int | None = None
    model_control: ModelControl = "none"
    models: tuple[str, ...] = ()
    strict_model_config: bool = False
    ready_within_s: float = 120.0
    stop_within_s: float = 30.0
    allocator: Allocator = "system"
    onnxruntime_backend: OnnxruntimeChoice = "auto"
    log: Path | None = None
    flags: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    access: Access = field(default_factory=Access)
    features: Features = field(default_factory=Features)
    exit_on_error: bool = False

    def __post_init__(self) -> None:
        check_ports(self.ports)
        check_choice("model control mode", self.model_control, get_args(ModelControl))
        check_choice("allocator", self.allocator, get_args(Allocator))
        check_choice(
            "onnxruntime backend", self.onnxruntime_backend, get_args(OnnxruntimeChoice)
        )
        check_models(self.model_control, self.models)
        check_flags(self.flags)
        check_variables(self.variables)
        for name in ("ready_within_s", "stop_within_s"):
            if not getattr(self, name) > 0:
                raise SpecError(f"{name} must be > 0, got {getattr(self, name)}")

        if self.features.poll_interval_s and self.model_control != "poll":
            raise SpecError(
                f"an interval of polls ({self.features.poll_interval_s} s), but model "
                f"control is {self.model_control!r}",
                hint="leave it out, or use --model-control-mode poll",
            )

    @property
    def repositories(self) -> tuple[Path, ...]:
        """All model repositories, in the order in which Triton reads them."""
        return (self.repository, *self.more_repositories)

    @property
    def ports(self) -> dict[str, int | None]:
        """The wanted ports by the name of their flag, without dashes."""
        return {
            "http-port": self.http_port,
            "grpc-port": self.grpc_port,
            "metrics-port": self.metrics_port,
        }

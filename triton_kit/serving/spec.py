"""What to serve, and how: one value that is valid or does not exist."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.serving.allocator import Allocator
from triton_kit.serving.onnxruntime_backend import OnnxruntimeChoice

ModelControl = Literal["none", "explicit", "poll"]

ALL_MODELS = "*"

# Triton makes a path of the name, and the releases up to 25.09 follow `..` in it.
_NO_MODEL_NAME = re.compile(r"[/\\\x00-\x1f]|^\.*$|^-")
# Set from the fields; a second value among `flags` would contradict them unseen.
_OWN_FLAGS = {
    "--model-repository": "repository",
    "--model-store": "repository",
    "--backend-directory": None,
    "--http-address": None,
    "--grpc-address": None,
    "--metrics-address": None,
    "--http-port": "http_port",
    "--grpc-port": "grpc_port",
    "--metrics-port": "metrics_port",
    "--reuse-http-port": None,
    "--reuse-grpc-port": None,
    "--allow-http": None,
    "--allow-grpc": None,
    "--allow-metrics": None,
    "--log-file": "log",
    "--model-control-mode": "model_control",
    "--load-model": "models",
    "--exit-on-error": None,
    "--exit-timeout-secs": "stop_within_s",
    "--disable-auto-complete-config": "strict_model_config",
    "--strict-model-config": "strict_model_config",
}
# Each opens an endpoint on every address of the machine, and has no flag for another.
_PUBLIC_FLAGS = (
    "--allow-sagemaker",
    "--sagemaker-port",
    "--sagemaker-safe-port-range",
    "--allow-vertex-ai",
    "--vertex-ai-port",
)
# Vertex AI's variables: they open its endpoint, without any flag.
_PUBLIC_VARIABLES = "AIP_"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSpec:
    """One launch of a Triton server over one model repository.

    Attributes:
        repository: the folder with one folder per model.
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
        variables: environment variables for the server and its Python models, beyond
            those that every server gets: NAME (as it is here) or NAME=VALUE.
    """

    repository: Path
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

    def __post_init__(self) -> None:
        _check_ports(self.ports)
        _check_choice("model control mode", self.model_control, get_args(ModelControl))
        _check_choice("allocator", self.allocator, get_args(Allocator))
        _check_choice(
            "onnxruntime backend", self.onnxruntime_backend, get_args(OnnxruntimeChoice)
        )
        _check_models(self.model_control, self.models)
        _check_flags(self.flags)
        _check_variables(self.variables)
        for name in ("ready_within_s", "stop_within_s"):
            if not getattr(self, name) > 0:
                raise SpecError(f"{name} must be > 0, got {getattr(self, name)}")

    @property
    def ports(self) -> dict[str, int | None]:
        """The wanted ports by the name of their flag, without dashes."""
        return {
            "http-port": self.http_port,
            "grpc-port": self.grpc_port,
            "metrics-port": self.metrics_port,
        }


def _check_ports(ports: dict[str, int | None]) -> None:
    taken: dict[int, str] = {}
    for name, port in ports.items():
        if port is None:
            continue
        if not 1 <= port <= 65535:
            raise SpecError(
                f"--{name} {port} is no port",
                hint="use 1 to 65535, or leave it out for a free one",
            )
        if port in taken:
            raise SpecError(
                f"--{taken[port]} and --{name} are both {port}",
                hint="each endpoint needs a port of its own",
            )
        taken[port] = name


def _check_choice(what: str, choice: str, known: tuple[str, ...]) -> None:
    if choice not in known:
        raise SpecError(f"unknown {what} {choice!r}", hint=did_you_mean(choice, known))


def _check_models(control: str, models: tuple[str, ...]) -> None:
    if models and control != "explicit":
        raise SpecError(
            f"models to load were named ({', '.join(models)}), "
            f"but model control is {control!r}",
            hint="name models only with explicit model control",
        )
    for model in models:
        if _NO_MODEL_NAME.search(model):
            raise SpecError(
                f"{model!r} is no model name",
                hint="a model has the name of its folder in the repository",
            )
    if ALL_MODELS in models and len(models) > 1:
        raise SpecError(
            f"models to load: {', '.join(models)}: {ALL_MODELS!r} means all of them",
            hint=f"name {ALL_MODELS!r} alone, or leave it out",
        )


def _check_flags(flags: tuple[str, ...]) -> None:
    for flag in flags:
        name, _, _ = flag.partition("=")
        if not name.startswith("--"):
            raise SpecError(
                f"{flag!r} is no tritonserver flag", hint="write --NAME=VALUE"
            )
        # tritonserver accepts any unambiguous beginning of a flag's name.
        if any(known.startswith(name) for known in _PUBLIC_FLAGS):
            raise SpecError(
                f"{flag!r}: its endpoint listens on every address of the machine, "
                "the embedded server on 127.0.0.1 only",
                hint="serve the repository in NVIDIA's container for that",
            )
        own = next((known for known in _OWN_FLAGS if known.startswith(name)), None)
        if own:
            field = _OWN_FLAGS[own]
            raise SpecError(
                f"{own} is set by the kit itself, but {flag!r} was given",
                hint=f"use {field!r} instead" if field else None,
            )


def _check_variables(variables: tuple[str, ...]) -> None:
    for variable in variables:
        name = variable.partition("=")[0]
        if not name or "\0" in variable:
            raise SpecError(
                f"{variable!r} is not an environment variable",
                hint="write NAME or NAME=VALUE",
            )
        if name.startswith(_PUBLIC_VARIABLES):
            raise SpecError(
                f"{name}: Vertex AI's endpoint listens on every address of the "
                "machine, the embedded server on 127.0.0.1 only"
            )

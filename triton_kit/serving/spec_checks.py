"""Each setting of a ServeSpec alone: refused with what to write instead."""

from __future__ import annotations

import re

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.triton.server_flags import find_flag

ALL_MODELS = "*"

# Triton makes a path of the name, and the releases up to 25.09 follow `..` in it.
_NO_MODEL_NAME = re.compile(r"[/\\\x00-\x1f]|^\.*$|^-")
# Set from the fields; a second value among `flags` would contradict them unseen.
_OWN_FLAGS = {
    "--model-repository": "repository",
    "--model-store": "repository",
    "--backend-directory": None,
    "--http-address": "address",
    "--grpc-address": "address",
    "--metrics-address": "metrics_address",
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
    "--exit-on-error": "exit_on_error",
    "--exit-timeout-secs": "stop_within_s",
    "--disable-auto-complete-config": "strict_model_config",
    "--strict-model-config": "strict_model_config",
    "--allow-client-shm": "client_shared_memory",
    "--http-max-input-size": "max_request_bytes",
    "--help": None,
}
# Each opens an endpoint on every address of the machine, and has no flag for another.
_PUBLIC_FLAGS = (
    "--allow-sagemaker",
    "--sagemaker-port",
    "--sagemaker-safe-port-range",
    "--allow-vertex-ai",
    "--vertex-ai-port",
)
_VARIABLE = re.compile(r"[A-Za-z_.-][\w.-]*", re.ASCII)
# Vertex AI's variables: they open its endpoint, without any flag.
_PUBLIC_VARIABLES = "AIP_"


def check_ports(ports: dict[str, int | None]) -> None:
    """Refuse a port that is out of range, or that two endpoints want."""
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


def check_choice(what: str, choice: str, known: tuple[str, ...]) -> None:
    """Refuse a word that is none of the known ones; say which is the nearest."""
    if choice not in known:
        raise SpecError(f"unknown {what} {choice!r}", hint=did_you_mean(choice, known))


def check_models(control: str, models: tuple[str, ...]) -> None:
    """Refuse models that the control mode does not load, and names that are paths."""
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


def check_flags(flags: tuple[str, ...]) -> None:
    """Refuse flags that no release has, that the kit sets, or that open an endpoint."""
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
        find_flag(name)


def check_variables(variables: tuple[str, ...]) -> None:
    """Refuse what is no environment variable, and those that open an endpoint."""
    for variable in variables:
        name = variable.partition("=")[0]
        if not _VARIABLE.fullmatch(name) or "\0" in variable:
            raise SpecError(
                f"{variable!r} is not an environment variable",
                hint="write NAME or NAME=VALUE",
            )
        if name.startswith(_PUBLIC_VARIABLES):
            raise SpecError(
                f"{name}: Vertex AI's endpoint listens on every address of the "
                "machine, the embedded server on 127.0.0.1 only"
            )

"""Options that describe a server, for every command that starts or deploys one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields as fields_of
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar  # Any: what click hands over

import click
import cloup

from triton_kit.cli.command import kit_option
from triton_kit.cli.options import FILE_TO_READ, PATH_TO_WRITE, PORT, timeout_option

if TYPE_CHECKING:
    from triton_kit.serving.access import Access
    from triton_kit.serving.features import Features
    from triton_kit.serving.spec import ServeSpec

F = TypeVar("F", bound=Callable[..., object])
_BYTES = click.IntRange(min=1)
_COUNT = click.IntRange(min=1)


def _port(kind: str) -> Any:  # noqa: ANN401  a decorator
    return kit_option(
        f"--{kind}-port",
        type=PORT,
        default=0,
        metavar="PORT",
        help=f"{kind} port; 0: a free one.",
    )


def _address(name: str, what: str) -> Any:  # noqa: ANN401  a decorator
    return kit_option(
        name,
        default="127.0.0.1",
        metavar="IP",
        help=f"IP address on which {what}. 0.0.0.0: every network of this machine.",
    )


def _pem(name: str, field: str, text: str) -> Any:  # noqa: ANN401  a decorator
    return kit_option(
        name, field, type=FILE_TO_READ, metavar="FILE", help=f"{text}, as PEM."
    )


def _repeated(name: str, field: str, form: str, text: str) -> Any:  # noqa: ANN401
    return kit_option(
        name, field, metavar=form, multiple=True, help=f"{text} Repeatable."
    )


_ADDRESSES = (
    _port("http"),
    _port("grpc"),
    _port("metrics"),
    _address("--address", "HTTP and gRPC listen"),
    _address("--metrics-address", "metrics are served"),
)
_MODELS = (
    kit_option(
        "--model-control-mode",
        "model_control",
        type=click.Choice(["none", "explicit", "poll"]),
        default="none",
        help="none: load all models. explicit: load models on request. poll: follow "
        "changes in the repository.",
    ),
    kit_option(
        "--load-model",
        "models",
        metavar="MODEL",
        multiple=True,
        help="With explicit: load this model at the start; '*' loads all. Repeatable.",
    ),
    kit_option(
        "--strict-model-config",
        is_flag=True,
        help="Use each config.pbtxt as written; complete nothing from the model.",
    ),
    kit_option(
        "--model-config-name",
        "config_name",
        default="",
        metavar="NAME",
        show_default=False,
        help="Load configs/NAME.pbtxt of each model that has it.",
    ),
    kit_option(
        "--model-namespacing",
        "namespacing",
        is_flag=True,
        help="Let models of several repositories have the same name.",
    ),
    kit_option(
        "--repository-poll-secs",
        "poll_interval_s",
        type=_COUNT,
        metavar="SECONDS",
        help="With poll: time between two polls. Default: 15.",
    ),
    kit_option(
        "--model-load-thread-count",
        "load_threads",
        type=_COUNT,
        metavar="N",
        help="Number of models that load at the same time. Default: 4.",
    ),
    kit_option(
        "--model-load-retry-count",
        "load_retries",
        type=click.IntRange(min=0),
        metavar="N",
        help="Number of retries for a model that failed to load. Default: 0.",
    ),
)
_KEY = (
    kit_option(
        "--key-file",
        type=PATH_TO_WRITE,
        metavar="FILE",
        help="File with the key of the control APIs; created with a new key if "
        "missing. Default: a temporary file.",
    ),
)
_ACCESS = (
    kit_option(
        "--open-control",
        is_flag=True,
        help="Accept control requests without a key.",
    ),
    kit_option(
        "--client-shared-memory",
        is_flag=True,
        help="Let clients on this machine pass tensors in shared memory.",
    ),
    kit_option(
        "--http-max-input-size",
        "max_request_bytes",
        type=_BYTES,
        metavar="BYTES",
        help="Largest HTTP request body, from release 25.06. Default: what the "
        "models take at most, by their shapes; 64 MB if a shape varies.",
    ),
    _pem("--grpc-server-cert", "grpc_certificate", "Certificate for TLS on gRPC"),
    _pem("--grpc-server-key", "grpc_key", "Private key of that certificate"),
    _pem(
        "--grpc-root-cert",
        "grpc_authorities",
        "Authorities of the client certificates that gRPC then requires",
    ),
)
_FEATURES = (
    kit_option(
        "--response-cache-bytes",
        type=_BYTES,
        metavar="BYTES",
        help="Size of the response cache, for models that enable it.",
    ),
    _repeated(
        "--rate-limit-resource",
        "rate_resources",
        "NAME:COUNT[:GPU]",
        "Turn the rate limiter on, with this resource.",
    ),
    kit_option(
        "--trace-url",
        default="",
        metavar="URL",
        show_default=False,
        help="Send traces to this OpenTelemetry collector (http://HOST:4318/v1/traces).",
    ),
    kit_option(
        "--trace-rate",
        type=_COUNT,
        default=1000,
        metavar="N",
        help="Trace one of N requests.",
    ),
    kit_option(
        "--trace-level",
        type=click.Choice(["TIMESTAMPS", "TENSORS"]),
        default="TIMESTAMPS",
        help="Contents of a trace.",
    ),
    kit_option(
        "--log-format",
        type=click.Choice(["default", "ISO8601"]),
        default="default",
        help="Format of times in the server's log.",
    ),
    kit_option(
        "--log-verbose",
        type=click.IntRange(min=0),
        default=0,
        metavar="LEVEL",
        help="Detail of the server's log; 0: errors, warnings and information.",
    ),
    kit_option(
        "--pinned-memory-pool-byte-size",
        "pinned_memory_bytes",
        type=click.IntRange(min=0),
        metavar="BYTES",
        help="Pool of pinned memory for copies to GPUs. Default: 256 MB.",
    ),
    _repeated(
        "--cuda-memory-pool-byte-size",
        "cuda_memory",
        "GPU:BYTES",
        "Pool of CUDA memory on a GPU. Default: 64 MB.",
    ),
    kit_option(
        "--min-supported-compute-capability",
        "min_compute_capability",
        type=float,
        metavar="X.Y",
        help="Use no GPU below this compute capability.",
    ),
    _repeated(
        "--backend-config",
        "backend_configs",
        "BACKEND,SETTING=VALUE",
        "Setting of a backend.",
    ),
)
_SERVER = (
    timeout_option(
        "Stop if the models are not ready after this time.",
        name="ready_within_s",
        default=120.0,
        former=("--ready-within",),
    ),
    kit_option(
        "--stop-timeout",
        "stop_within_s",
        type=click.FloatRange(min=0),
        default=30.0,
        metavar="SECONDS",
        former=("--stop-within",),
        help="Time for requests in flight when the server stops.",
    ),
    _repeated(
        "--flag",
        "flags",
        "--NAME=VALUE",
        "Any other flag of tritonserver, as --flag=--NAME=VALUE.",
    ),
    _repeated(
        "--env",
        "variables",
        "NAME[=VALUE]",
        "Environment variable for the server and its Python models, which get few by "
        "default.",
    ),
)


def with_server_options(*more: Any, is_local: bool = True) -> Callable[[F], F]:  # noqa: ANN401
    """Add the options of a server; `server_spec` makes a ServeSpec of their values.

    Args:
        more: options of the command that belong to the group `Server`.
        is_local: whether the command starts it: with addresses and a file for the key.
    """
    groups = {
        **({"Addresses": _ADDRESSES} if is_local else {}),
        "Models": _MODELS,
        "Access": (*(_KEY if is_local else ()), *_ACCESS),
        "Features": _FEATURES,
        "Server": (*_SERVER, *more),
    }

    def decorate(command: F) -> F:
        for title, options in reversed(groups.items()):
            command = cloup.option_group(title, *options)(command)
        return command

    return decorate


def server_spec(repositories: tuple[Path, ...], fields: Mapping[str, Any]) -> ServeSpec:
    """Return the server that the options describe.

    Args:
        repositories: at least one.
        fields: the values of all options of `with_server_options`, and of others of
            ServeSpec.
    """
    from triton_kit.serving.access import Access
    from triton_kit.serving.features import Features
    from triton_kit.serving.spec import ServeSpec

    rest = {name: _port_or(name, value) for name, value in fields.items()}
    access = Access(**_take(rest, Access))
    features = Features(**_take(rest, Features))
    return ServeSpec(
        repository=repositories[0],
        more_repositories=repositories[1:],
        access=access,
        features=features,
        **rest,
    )


def _port_or(name: str, value: Any) -> Any:  # noqa: ANN401  as click has it
    """Return None for a port of 0: a free one."""
    return value or None if name.endswith("_port") else value


def _take(values: dict[str, Any], owner: type[Access | Features]) -> dict[str, Any]:
    """Remove the values of a class's fields from all values, and return them."""
    names = [field.name for field in fields_of(owner) if field.name in values]
    return {name: values.pop(name) for name in names}

"""A ServeSpec into the flags of tritonserver, the same for every launcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from triton_kit.errors import SpecError
from triton_kit.serving.access import LOOPBACK
from triton_kit.serving.keys import GRPC_KEY_HEADER, KEY_HEADER
from triton_kit.serving.spec import ServeSpec
from triton_kit.triton.releases import Release
from triton_kit.triton.server_flags import find_flag, require_flag

ENDPOINTS = ("http", "grpc", "metrics")
_SHARED_MEMORY_FLAG = "--allow-client-shm"
_REQUEST_FLAG = "--http-max-input-size"
_RESTRICTIONS = {
    "--http-restricted-api": KEY_HEADER,
    "--grpc-restricted-protocol": GRPC_KEY_HEADER.removeprefix("triton-grpc-protocol-"),
}
_REPEATABLE = {
    *("--backend-config", "--trace-config", "--cache-config", "--metrics-config"),
    *("--host-policy", "--rate-limit-resource", "--cuda-memory-pool-byte-size"),
    *("--cuda-virtual-address-size", "--model-load-gpu-limit", *_RESTRICTIONS),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a server runs, as it sees it itself: a process here, or a container.

    Attributes:
        ports: by endpoint: `http`, `grpc`, `metrics`.
        key: of the control APIs; a variable where another program fills it in.
        addresses: where each of them listens.
        paths: files and folders of the spec that have another path there.
        memory_prefix: how the shared memory of Python models is named; "" is Triton's.
    """

    ports: Mapping[str, int]
    key: str
    addresses: Mapping[str, str] = field(
        default_factory=lambda: dict.fromkeys(ENDPOINTS, LOOPBACK)
    )
    paths: Mapping[Path, str] = field(default_factory=dict)
    memory_prefix: str = ""

    def path(self, path: Path) -> str:
        """Return a path of the spec as the server sees it."""
        return self.paths.get(path, str(path.absolute()))


def server_flags(spec: ServeSpec, release: Release, place: Place) -> tuple[str, ...]:
    """Return the flags of tritonserver, in a stable order.

    Raises:
        SpecError: the release lacks one of them, or an extra flag contradicts a
            setting of the spec.
    """
    access = spec.access
    flags = [
        *(f"--model-repository={place.path(path)}" for path in spec.repositories),
        f"--exit-on-error={_word(spec.exit_on_error)}",
        f"--exit-timeout-secs={max(1, round(spec.stop_within_s))}",
        f"--model-control-mode={spec.model_control}",
        *(f"--{kind}-address={place.addresses[kind]}" for kind in ENDPOINTS),
        *(f"--{kind}-port={place.ports[kind]}" for kind in ENDPOINTS),
        # Both listen on every address, and have no flag for another one.
        *(f"--allow-{name}=false" for name in ("sagemaker", "vertex-ai")),
        *(f"--load-model={model}" for model in spec.models),
    ]
    if spec.strict_model_config:
        flags.append("--disable-auto-complete-config")
    if place.memory_prefix:
        setting = f"python,shm-region-prefix-name={place.memory_prefix}"
        flags.append(f"--backend-config={setting}")
    if access.max_request_bytes is not None:
        flags.append(f"{_REQUEST_FLAG}={access.max_request_bytes}")
    elif access.models_request_bytes and find_flag(_REQUEST_FLAG).is_in(release):
        flags.append(f"{_REQUEST_FLAG}={access.models_request_bytes}")
    if find_flag(_SHARED_MEMORY_FLAG).is_in(release):
        flags.append(f"{_SHARED_MEMORY_FLAG}={_word(access.client_shared_memory)}")
    if access.tls_files:
        kind = "grpc-use-ssl-mutual" if access.grpc_authorities else "grpc-use-ssl"
        flags.append(f"--{kind}=true")
    flags += [f"--{name}={place.path(p)}" for name, p in access.tls_files.items()]
    flags += spec.features.flags()
    _refuse_contradictions(flags, spec.flags)
    flags += [*_restrictions(spec, release, place.key), *spec.flags]
    for flag in flags:
        require_flag(flag.partition("=")[0], release)
    return tuple(flags)


def restricted_apis(spec: ServeSpec, release: Release) -> tuple[str, ...]:
    """Return the APIs that need the key: those that change the server or its models."""
    apis = []
    if not spec.access.open_control:
        apis += ["trace", "logging"]
        apis += ["model-repository"] if spec.model_control != "none" else []
    has_flag = find_flag(_SHARED_MEMORY_FLAG).is_in(release)
    if not spec.access.client_shared_memory and not has_flag:
        apis.append("shared-memory")
    return tuple(apis)


def _restrictions(spec: ServeSpec, release: Release, key: str) -> list[str]:
    """Return the flags that restrict APIs, without those that `spec.flags` restricts.

    Triton accepts an API in one restriction of each protocol only.
    """
    flags = []
    for name, header in _RESTRICTIONS.items():
        given = [f for f in spec.flags if f.startswith(f"{name}=")]
        taken = ",".join(f.partition("=")[2].partition(":")[0] for f in given)
        wanted = restricted_apis(spec, release)
        apis = [api for api in wanted if api not in taken.split(",")]
        if apis:
            flags.append(f"{name}={','.join(apis)}:{header}={key}")
    return flags


def _refuse_contradictions(ours: list[str], given: tuple[str, ...]) -> None:
    names = {flag.partition("=")[0] for flag in ours} - _REPEATABLE
    for flag in given:
        if flag.partition("=")[0] in names:
            raise SpecError(
                f"{flag!r} was given, and another option sets the same flag",
                hint="leave one of them out",
            )


def _word(value: bool) -> str:
    return "true" if value else "false"

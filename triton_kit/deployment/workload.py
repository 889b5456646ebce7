"""A DeploySpec and what its repository needs become one container, for every target."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from triton_kit.deployment.needs import Needs
from triton_kit.deployment.spec import DeploySpec
from triton_kit.errors import SpecError
from triton_kit.serving.containers.container import (
    ASK_URLS,
    EXIT_MARGIN_S,
    MODELS,
    PORTS,
    place_in_container,
)
from triton_kit.serving.flags import restricted_apis, server_flags
from triton_kit.serving.spec import ServeSpec

TLS = "/run/secrets/triton-tls"
# Stands for the key in the flags, until each target writes its variable there.
KEY_SLOT = "@control-key@"
PROBE_PERIOD_S = 5
_MIB = 1 << 20
_LEAST_MEMORY_MIB = 1024
_HERE_ONLY = ("log", "allocator", "onnxruntime_backend")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One server as a container, before a target's files describe it.

    Attributes:
        spec: what to deploy.
        needs: what the repository needs.
        server: the server of the spec, as a container runs it.
        repository: the path of the repository in the container.
    """

    spec: DeploySpec
    needs: Needs
    server: ServeSpec
    repository: str = MODELS

    @property
    def needs_key(self) -> bool:
        """Whether some control APIs need a key."""
        return bool(restricted_apis(self.server, self.spec.triton))

    @property
    def tls_files(self) -> dict[str, Path]:
        """The PEM files of gRPC by their name in the container."""
        names = {
            "grpc-server-cert": "tls.crt",
            "grpc-server-key": "tls.key",
            "grpc-root-cert": "ca.crt",
        }
        return {names[flag]: p for flag, p in self.server.access.tls_files.items()}

    def argv(self, escape: Callable[[str], str], key: str) -> list[str]:
        """Return the container's command.

        Args:
            escape: writes a word so that the target takes it literally.
            key: how the target writes the variable with the key.
        """
        paths = {path: f"{TLS}/{name}" for name, path in self.tls_files.items()}
        paths[self.server.repository] = self.repository
        place = replace(place_in_container(self.server), key=KEY_SLOT, paths=paths)
        flags = server_flags(self.server, self.spec.triton, place)
        return [escape(w).replace(KEY_SLOT, key) for w in ("tritonserver", *flags)]

    @property
    def ready_paths(self) -> list[str]:
        """The HTTP paths that respond with 200 once the server can serve.

        By model: `/v2/health/ready` stays false after one failed load, and is false
        while an old version unloads.
        """
        paths = [f"/v2/models/{quote(m, safe='')}/ready" for m in self.needs.models]
        return paths or ["/v2/health/live"]

    @property
    def ready_command(self) -> list[str]:
        """The command in the container that succeeds once the server can serve."""
        base = f"http://127.0.0.1:{PORTS['http']}"
        urls = [f"{base}{path}" for path in self.ready_paths]
        return ["python3", "-c", ASK_URLS, *urls]

    @property
    def start_checks(self) -> int:
        """How many periods of the probe loading the models may take."""
        return math.ceil(self.server.ready_within_s / PROBE_PERIOD_S)

    @property
    def stop_s(self) -> int:
        """Seconds from SIGTERM until the server may be killed."""
        return math.ceil(self.server.stop_within_s + EXIT_MARGIN_S)

    @property
    def shm_mib(self) -> int:
        """Size of /dev/shm: where Python models keep tensors, for each process."""
        return math.ceil(self.needs.shm_bytes / _MIB)

    @property
    def memory_mib(self) -> int:
        """Memory that a server gets at least: its own, the models', and /dev/shm."""
        models = math.ceil(2 * self.needs.repository_bytes / _MIB)
        return _LEAST_MEMORY_MIB + models + self.shm_mib

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that have a value."""
        pairs = (v.partition("=") for v in self.server.variables if "=" in v)
        return {name: value for name, _, value in pairs}

    @property
    def secret_variables(self) -> list[str]:
        """The environment variables whose value is no part of any file."""
        return [v for v in self.server.variables if "=" not in v]


def container_workload(
    spec: DeploySpec, needs: Needs, *, repository: str = MODELS
) -> Workload:
    """Return the server as a container runs it.

    Raises:
        SpecError: the spec has a setting that only a server on this machine has.
    """
    refuse_settings(spec.server, _HERE_ONLY, "a container")
    if spec.server.access.client_shared_memory:
        raise SpecError(
            "--client-shared-memory: clients of a deployment are in other containers, "
            "which share no memory with the server's",
            hint="leave it out",
        )
    # A container that cannot serve every model ends, and its reason is in its log.
    server = replace(spec.server, exit_on_error=True)
    return Workload(spec=spec, needs=needs, server=server, repository=repository)


def refuse_fields(spec: DeploySpec, names: tuple[str, ...], where: str) -> None:
    """Refuse settings of a deployment that have no effect there."""
    standard = DeploySpec(server=spec.server)
    for name in names:
        if (given := getattr(spec, name)) != getattr(standard, name):
            raise SpecError(
                f"{name} is {str(given)!r}, which has no effect in {where}",
                hint="leave it out",
            )


def refuse_settings(server: ServeSpec, names: tuple[str, ...], where: str) -> None:
    """Refuse settings of a server, or of its access, that have no effect there."""
    standard = ServeSpec(repository=server.repository)
    for name in names:
        of, plain = server, standard
        given, usual = (
            getattr(s if hasattr(s, name) else s.access, name) for s in (of, plain)
        )
        if given != usual:
            raise SpecError(
                f"{name} is {str(given)!r}, which has no effect in {where}",
                hint="leave it out",
            )

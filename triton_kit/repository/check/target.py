"""The server that a repository is checked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from triton_kit.errors import SpecError
from triton_kit.repository.check.embedded import EMBEDDED_BACKENDS
from triton_kit.triton.releases import Release, find_release

# What is in the containers of a release, all flavours together (py3, vllm, trtllm).
_CONTAINER_BACKENDS = frozenset(
    {
        *("dali", "fil", "identity", "onnxruntime", "openvino", "python", "pytorch"),
        *("repeat", "square", "tensorrt", "tensorrtllm", "vllm"),
    }
)
_TENSORFLOW_UNTIL = (2, 55)
_AOTI_SINCE = (2, 64)
_EMBEDDED = "2.51"
_FIELDS_SINCE = {
    ("inference.ModelConfig", "model_metrics"): (2, 52),
    ("inference.ModelEnsembling", "max_inflight_requests"): (2, 63),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server: its version and what it was started with.

    Attributes:
        server: the version as it was asked for: `2.51`, or a release: `24.10`.
        gpus: how many GPUs it sees.
        strict: whether it was started with --disable-auto-complete-config.
        backends: the backends that are installed.
        config_name: its --model-config-name; empty without.
        release: the release that has this server.
        version: major and minor number of the server.
    """

    server: str = "2.51"
    gpus: int = 0
    strict: bool = False
    backends: frozenset[str] | None = None
    config_name: str = ""
    release: Release = field(init=False)
    version: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        release = find_release(_EMBEDDED if self.server == "embedded" else self.server)
        major, minor, *_ = release.server.split(".")
        version = (int(major), int(minor))
        object.__setattr__(self, "release", release)
        object.__setattr__(self, "version", version)
        if self.gpus < 0:
            raise SpecError(f"--gpus {self.gpus}: expected 0 or more")
        if self.backends is None:
            object.__setattr__(self, "backends", container_backends(version))

    def has_backend(self, name: str) -> bool:
        """Whether a backend of this name is installed."""
        return self.backends is not None and name in self.backends

    @property
    def is_embedded(self) -> bool:
        """Whether it is the embedded server, and not the container of its release.

        That is what a bare version of the server means, which is the default, too.
        """
        is_named = self.server in ("embedded", _EMBEDDED)
        return is_named or self.backends == frozenset(EMBEDDED_BACKENDS)

    @property
    def tensorrt(self) -> str | None:
        """The TensorRT version of the server's container, where it is known."""
        return self.release.tensorrt

    @property
    def absent_fields(self) -> frozenset[tuple[str, str]]:
        """The fields of ModelConfig that this server does not have yet."""
        return frozenset(
            field for field, since in _FIELDS_SINCE.items() if self.version < since
        )


def container_backends(version: tuple[int, int]) -> frozenset[str]:
    """Return the backends in the containers of one release of the server."""
    names = set(_CONTAINER_BACKENDS)
    if version <= _TENSORFLOW_UNTIL:
        names.add("tensorflow")
    if version >= _AOTI_SINCE:
        names.add("torch_aoti")
    return frozenset(names)

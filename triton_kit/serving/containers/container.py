"""A ServeSpec into the command that starts its container: as little as it needs."""

from __future__ import annotations

import csv
import io
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from urllib.parse import quote

from triton_kit.errors import SpecError
from triton_kit.serving.access import ANY_ADDRESS
from triton_kit.serving.flags import ENDPOINTS, Place, server_flags
from triton_kit.serving.spec import ServeSpec
from triton_kit.triton.releases import Release

_HEALTH_INTERVAL_S = 30
# Succeeds once every URL among its arguments responds with 200.
ASK_URLS = (
    "import sys, urllib.request as r; [r.urlopen(u, timeout=4) for u in sys.argv[1:]]"
)
KEY_VARIABLE = "TRITON_KIT_KEY"
PORTS = {"http": 8000, "grpc": 8001, "metrics": 8002}
MODELS = "/models"  # where the first repository is
_FILES = "/run/triton-kit"
USER_ID = 1000  # triton-server in NVIDIA's image
# Between Triton's own limit and the engine's SIGKILL.
EXIT_MARGIN_S = 10.0
_GPU = re.compile(r"\d+|(GPU|MIG)-[0-9a-fA-F/-]+")
_IMAGE = re.compile(r"[a-z0-9][\w./:-]*(@sha256:[0-9a-f]{64})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """The container of a server.

    Attributes:
        name: by which the engine knows it.
        release: whose flags the server is given.
        image: with a tag or a digest.
        engine: `docker` or `podman`.
        gpus: `all`, numbers, UUIDs or MIG UUIDs; () is none.
        shm_bytes: size of /dev/shm, through which Python models exchange tensors.
        labels: what the engine keeps about it.
    """

    name: str
    release: Release
    image: str
    engine: str = "docker"
    gpus: tuple[str, ...] = ()
    shm_bytes: int = 256 << 20
    labels: Mapping[str, str]

    def __post_init__(self) -> None:
        check_image(self.image)
        for gpu in self.gpus:
            if gpu != "all" and not _GPU.fullmatch(gpu):
                raise SpecError(
                    f"{gpu!r} is no GPU",
                    hint="use all, a number (0), a UUID (GPU-...) or a MIG UUID "
                    "(MIG-...), as 'nvidia-smi -L' lists them",
                )
        if "all" in self.gpus and len(self.gpus) > 1:
            raise SpecError(f"GPUs {','.join(self.gpus)}: 'all' stands alone")


def check_image(image: str) -> None:
    """Refuse an image that may be another one tomorrow.

    Raises:
        SpecError: its tag is `latest`, or it has neither tag nor digest.
    """
    if not _IMAGE.fullmatch(image):
        raise SpecError(
            f"{image!r} is no name of an image",
            hint="write NAME:TAG or NAME@sha256:DIGEST",
        )
    if "@" in image:
        return
    tag = image.rpartition("/")[2].partition(":")[2]
    if tag in ("", "latest"):
        raise SpecError(
            f"image {image}: it has no fixed tag, so it may be another one tomorrow",
            hint="write NAME:TAG or NAME@sha256:DIGEST",
        )


def place_in_container(spec: ServeSpec) -> Place:
    """Return where the server of a spec is in any container of its own."""
    paths = {
        path: f"{MODELS}-{number}" if number else MODELS
        for number, path in enumerate(spec.repositories)
    }
    paths |= {
        path: f"{_FILES}/{name}.pem" for name, path in spec.access.tls_files.items()
    }
    return Place(
        ports=PORTS,
        addresses=dict.fromkeys(ENDPOINTS, ANY_ADDRESS),
        paths=paths,
        key=f"${KEY_VARIABLE}",
    )


def server_command(flags: tuple[str, ...]) -> list[str]:
    """Return the command of the container; a shell there fills in the key.

    So the key is in the environment of the container, and in no command line of this
    machine but the server's own: tritonserver takes it as a flag only.
    """
    variable = f"${KEY_VARIABLE}"
    plain = [flag for flag in flags if variable not in flag]
    secret = " ".join(f'"{flag}"' for flag in flags if variable in flag)
    if not secret:
        return ["tritonserver", *plain]
    return ["sh", "-c", f'exec tritonserver "$@" {secret}', "tritonserver", *plain]


def run_command(
    spec: ServeSpec,
    container: Container,
    ports: Mapping[str, int],
    *,
    models: tuple[str, ...],
    detached: bool = False,
) -> list[str]:
    """Return the command that runs the container: words, no shell.

    Args:
        spec: what to serve.
        container: in what.
        ports: of this machine, by the name of their flag, without dashes.
        models: those that the server is to load.
        detached: return at once, and keep the container when it ends.

    Raises:
        SpecError: the release lacks a flag that the spec needs.
    """
    place = place_in_container(spec)
    flags = server_flags(spec, container.release, place)
    has_key = any(f"${KEY_VARIABLE}" in flag for flag in flags)
    return [
        *(container.engine, "run", "--detach" if detached else "--rm"),
        *("--name", container.name),
        *(w for n, v in container.labels.items() for w in ("--label", f"{n}={v}")),
        *("--user", f"{USER_ID}:{USER_ID}", "--read-only"),
        *("--tmpfs", f"/tmp:rw,nosuid,nodev,exec,uid={USER_ID},mode=1777"),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *("--pids-limit", "4096", "--ulimit", "stack=67108864"),
        *("--shm-size", str(container.shm_bytes)),
        *("--stop-timeout", str(math.ceil(spec.stop_within_s + EXIT_MARGIN_S))),
        *("--health-cmd", shlex.join(health_command(spec, models))),
        *("--health-interval", f"{_HEALTH_INTERVAL_S}s"),
        *("--health-start-period", f"{math.ceil(spec.ready_within_s)}s"),
        *_gpu_words(container),
        *(w for path, to in place.paths.items() for w in ("--mount", _mount(path, to))),
        *(w for kind in ENDPOINTS for w in ("--publish", _publish(spec, kind, ports))),
        *(w for name in _variables(spec, has_key=has_key) for w in ("--env", name)),
        container.image,
        *server_command(flags),
    ]


def health_command(spec: ServeSpec, models: tuple[str, ...]) -> list[str]:
    """Return what the engine runs in the container: every model must be ready.

    Which models are loaded can change unless the control mode is `none`. The server's
    own readiness is false for good after one failed load, up to 24.10 at least.
    """
    paths = [f"/v2/models/{name}/ready" for name in models]
    if spec.model_control != "none":
        paths = ["/v2/health/live"]
    urls = [f"http://127.0.0.1:{PORTS['http']}{quote(path)}" for path in paths]
    return ["python3", "-c", ASK_URLS, *urls]


def container_environment(spec: ServeSpec, key: str) -> dict[str, str]:
    """Return the variables that `run_command` passes on by their names only."""
    given = dict(text.split("=", 1) for text in spec.variables if "=" in text)
    return given | ({KEY_VARIABLE: key} if key else {})


def _variables(spec: ServeSpec, *, has_key: bool) -> list[str]:
    names = [text.partition("=")[0] for text in spec.variables]
    return [*names, KEY_VARIABLE] if has_key else names


def _publish(spec: ServeSpec, kind: str, ports: Mapping[str, int]) -> str:
    access = spec.access
    address = access.metrics_address if kind == "metrics" else access.address
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{ports[f'{kind}-port']}:{PORTS[kind]}"


def _mount(path: Path, to: str) -> str:
    """Return a read-only bind mount; the engine reads its fields as CSV."""
    text = io.StringIO()
    fields = ["type=bind", f"source={path.resolve()}", f"target={to}", "readonly"]
    csv.writer(text, lineterminator="").writerow(fields)
    return text.getvalue()


def _gpu_words(container: Container) -> list[str]:
    gpus = container.gpus
    if not gpus:
        return []
    # Pinned memory for copies to GPUs counts as locked.
    words = ["--ulimit", "memlock=-1"]
    if container.engine == "podman":
        devices = (("--device", f"nvidia.com/gpu={gpu}") for gpu in gpus)
        return [*words, *chain.from_iterable(devices)]
    # The engine reads the value as CSV: a list needs quotes of its own.
    wanted = "all" if gpus == ("all",) else f'"device={",".join(gpus)}"'
    return [*words, "--gpus", wanted]


def as_shell(command: list[str], image: str) -> str:
    """Return a command as a shell takes it, one option a line."""
    end = command.index(image)
    lines = [command[:2]]
    for word in command[2:end]:
        if word.startswith("--"):
            lines.append([word])
        else:
            lines[-1].append(word)
    return " \\\n  ".join(shlex.join(line) for line in [*lines, command[end:]])

"""The programs `docker` and `podman`: found, asked, and their errors explained."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from typing import Any, Literal, get_args  # Any: JSON of the engine

from triton_kit.errors import ServerError, SpecError, did_you_mean
from triton_kit.process import Finished, run_child

_log = logging.getLogger(__name__)

EngineName = Literal["docker", "podman"]
_WITHIN_S = 60.0
_PULL_WITHIN_S = 3600.0
# Of the image of Triton: the release that it is.
_RELEASE_VARIABLE = "NVIDIA_TRITON_SERVER_VERSION"


@dataclass(frozen=True, slots=True)
class Engine:
    """A container engine that responds; `find_engine` makes one."""

    program: str

    def ask(self, *words: str, within_s: float = _WITHIN_S) -> Finished:
        """Run one command of the engine to its end."""
        return run_child([self.program, *words], deadline_s=within_s)

    def inspect(self, name: str, *, kind: str = "container") -> dict[str, Any] | None:
        """Return what the engine knows of a container or image; None if absent."""
        done = self.ask(kind, "inspect", name)
        if done.exit_code != 0:
            return None
        found: dict[str, Any] = json.loads(done.stdout)[0]
        return found

    def remove(self, name: str) -> None:
        """Stop a container at once and remove it; nothing happens if it is gone."""
        self.ask("rm", "--force", "--volumes", name)

    def require_image(self, image: str) -> dict[str, Any]:
        """Return what is known of an image; it is pulled if it is not here.

        Raises:
            ServerError: it is not here and cannot be pulled.
        """
        if found := self.inspect(image, kind="image"):
            return found
        _log.info("pulling %s", image)
        done = self.ask("pull", image, within_s=_PULL_WITHIN_S)
        found = self.inspect(image, kind="image")
        if found is None:
            raise ServerError(
                f"image {image} is not on this machine, and cannot be pulled: "
                f"{_reason(done)}",
                hint=f"pull it where its registry can be reached, then "
                f"'{self.program} save' there and '{self.program} load' here; or "
                "name another one with --image",
            )
        return found


def find_engine(name: str) -> Engine:
    """Return the engine, once it responds.

    Raises:
        SpecError: there is no such engine.
        ServerError: it is not installed, does not run, or refuses this user.
    """
    known = get_args(EngineName)
    if name not in known:
        raise SpecError(
            f"unknown container engine {name!r}", hint=did_you_mean(name, known)
        )
    if shutil.which(name) is None:
        other = next(word for word in known if word != name)
        has_other = shutil.which(other) is not None
        raise ServerError(
            f"no container engine: {name} is not installed",
            hint=f"--engine {other}" if has_other else "apt-get install docker.io",
        )
    engine = Engine(name)
    done = engine.ask("version", "--format", "{{.Server.Version}}")
    if done.exit_code == 0:
        return engine
    reason = _reason(done)
    if "permission denied" in reason.lower():
        raise ServerError(
            f"{name} refuses this user: {reason}",
            hint="run as root, join the group docker (its members can become root), or "
            "use --engine podman",
        )
    raise ServerError(
        f"the {name} engine does not respond: {reason}",
        hint="start it (systemctl start docker), or name its socket in DOCKER_HOST",
    )


def image_release(found: dict[str, Any]) -> str:
    """Return the release that an image says it is (`24.10`); "" if it does not."""
    variables = found.get("Config", {}).get("Env") or []
    pairs = (text.partition("=") for text in variables)
    return next((value for name, _, value in pairs if name == _RELEASE_VARIABLE), "")


def _reason(done: Finished) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    text = lines[-1] if lines else done.ending
    return text.removeprefix("Error response from daemon: ").rstrip(".")

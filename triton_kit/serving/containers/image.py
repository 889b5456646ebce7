"""A model repository baked into an image of its release, with the server's flags."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path

from triton_kit.errors import ServerError, SpecError
from triton_kit.serving.containers.container import (
    KEY_VARIABLE,
    PORTS,
    USER_ID,
    check_image,
    health_command,
    place_in_container,
    server_command,
)
from triton_kit.serving.containers.engine import Engine
from triton_kit.serving.containers.readable import require_readable
from triton_kit.serving.flags import server_flags
from triton_kit.serving.spec import ServeSpec
from triton_kit.serving.startup import wanted_models
from triton_kit.triton.releases import Release

_log = logging.getLogger(__name__)

_BUILD_WITHIN_S = 3600.0
# The image has no key: a container without one must not start with an empty key.
_REQUIRED_KEY = f"${{{KEY_VARIABLE}:?set it to the key of the control APIs}}"


def dockerfile(spec: ServeSpec, release: Release, base: str) -> str:
    """Return a Dockerfile whose context is the repository.

    Args:
        spec: what the image serves; its key, ports and addresses are those of each
            container.
        release: whose flags the server is given.
        base: the image of that release.

    Raises:
        SpecError: the spec has more than one repository or files outside of it, or the
            base has no fixed tag.
    """
    if spec.more_repositories or spec.access.tls_files:
        raise SpecError(
            "an image has one repository and no certificates",
            hint="merge the repositories; mount certificates where the image runs",
        )
    check_image(base)
    place = place_in_container(spec)
    command = server_command(server_flags(spec, release, place))
    command = [word.replace(f"${KEY_VARIABLE}", _REQUIRED_KEY) for word in command]
    ports = " ".join(map(str, PORTS.values()))
    health = health_command(spec, wanted_models(spec))
    return (
        f"FROM {base}\n"
        f"COPY . {place.path(spec.repository)}\n"
        f"USER {USER_ID}:{USER_ID}\n"
        f"EXPOSE {ports}\n"
        f"HEALTHCHECK CMD {json.dumps(health)}\n"
        f"CMD {json.dumps(command)}\n"
    )


def build_image(engine: Engine, text: str, repository: Path, tag: str) -> None:
    """Build the image; the engine copies the repository into it.

    Raises:
        SpecError: the tag is not fixed, or the server could not read a file.
        ServerError: the engine failed.
    """
    check_image(tag)
    require_readable((repository,))
    with tempfile.NamedTemporaryFile("w", prefix="triton-kit-", encoding="utf-8") as f:
        f.write(text)
        f.flush()
        words = ("--quiet", "--file", f.name, "--tag", tag, str(repository))
        _log.info("building %s", tag)
        done = engine.ask("build", *words, within_s=_BUILD_WITHIN_S)
    if done.exit_code != 0:
        lines = done.stderr.strip().splitlines() or [done.ending]
        raise ServerError(f"{engine.program} did not build {tag}: {lines[-1]}")

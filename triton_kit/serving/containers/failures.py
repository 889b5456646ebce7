"""A container that ended, or did not start, becomes an error with what to do."""

from __future__ import annotations

import re

from triton_kit.errors import ServerError
from triton_kit.process import describe_exit
from triton_kit.serving.containers.container import Container
from triton_kit.serving.crashes import server_died
from triton_kit.serving.ports import port_in_use
from triton_kit.serving.startup import Launch, hint_for

# Of `docker run`: the engine failed, the command cannot run, there is no such command.
_ENGINE_FAILED = (125, 126, 127)
_PORT_TAKEN = re.compile(
    r"Bind for \S+:(\d+) failed|listen tcp4? \S+:(\d+): bind: address already in use"
)
_NO_GPU_SUPPORT = re.compile(
    r"could not select device driver|unresolvable CDI devices|nvidia-container-cli"
)


def explain_container_end(
    code: int, launch: Launch, container: Container
) -> ServerError:
    """Return the error of a container that ended before its server was ready."""
    text = launch.log.read_text(errors="replace")
    if code in _ENGINE_FAILED:
        return engine_failed(text, code, launch, container)
    died = server_died(code, launch.log, "before it was ready")
    return ServerError(died.message, hint=hint_for(launch, text) or died.hint)


def engine_failed(
    text: str, code: int | None, launch: Launch, container: Container
) -> ServerError:
    """Return the error of an engine that did not start a container.

    Args:
        text: what the engine's program wrote.
        code: how it ended; None is out of time.
        launch: what was to start.
        container: in what.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    told = [line for line in lines if "Run '" not in line and "See '" not in line]
    reason = told[-1] if told else describe_exit(code or 1)
    for line in told:
        if match := _PORT_TAKEN.search(line):
            port = int(match[1] or match[2])
            names = (n for n, p in launch.ports.items() if p == port)
            return port_in_use(next(names, "http-port"), port)
    reason = reason.removeprefix(f"{container.engine}: ").rstrip(".")
    reason = reason.removeprefix("Error response from daemon: ")
    if container.gpus and _NO_GPU_SUPPORT.search(text):
        return ServerError(
            f"the engine cannot give the container GPU {','.join(container.gpus)}: "
            f"{reason}",
            hint="'nvidia-smi -L' lists the GPUs; the engine needs "
            "nvidia-container-toolkit",
        )
    return ServerError(f"{container.engine} did not start the container: {reason}")

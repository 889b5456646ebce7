"""Options of the container of a server, and the commands that find it again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any  # Any: what click hands over

import click
import cloup
from click.core import ParameterSource

from triton_kit.cli.command import kit_option
from triton_kit.cli.options import release_option
from triton_kit.errors import SpecError

if TYPE_CHECKING:
    from triton_kit.serving.containers.launcher import ContainerOptions

ENGINE = kit_option(
    "--engine",
    type=click.Choice(["docker", "podman"]),
    default="docker",
    help="Container engine.",
)
NAME = cloup.argument(
    "name", required=False, default="", help="The server. Default: the only one."
)
OWN_FIELDS = ("release", "image", "gpus", "shm_bytes", "name", "engine")
# Options that only one launcher has.
_OF_DOCKER = (*OWN_FIELDS, "detach")
_OF_EMBEDDED = ("allocator", "onnxruntime_backend", "watches")
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class _Size(click.ParamType[int]):
    """A size as the engine writes it: 512m, 2g."""

    name = "size"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Return it in bytes."""
        match = re.fullmatch(r"(\d+)([bkmg]?)b?", str(value).lower())
        if not match or not int(match[1]):
            self.fail(f"{value!r} is no size: write 512m or 2g", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


_CONTAINER = (
    kit_option(
        "--launcher",
        type=click.Choice(["embedded", "docker"]),
        default="embedded",
        help="embedded: the server of this installation. docker: a container.",
    ),
    release_option("Triton release. Default: that of the image, or the newest."),
    kit_option(
        "--image",
        default="",
        metavar="NAME",
        show_default=False,
        help="Image with a tag or digest. Default: NVIDIA's of the release.",
    ),
    kit_option(
        "--gpus",
        default="",
        metavar="all|ID,...",
        show_default=False,
        help="GPUs of the container: all, numbers, UUIDs or MIG UUIDs. Default: none.",
    ),
    kit_option(
        "--shm-size",
        "shm_bytes",
        type=_Size(),
        metavar="BYTES",
        help="Size of /dev/shm, such as 2g. Default: 64m for each instance of a "
        "Python model, at least 256m.",
    ),
    kit_option(
        "--name",
        default="",
        metavar="NAME",
        show_default=False,
        help="Name of the container. Default: a new one.",
    ),
    ENGINE,
    kit_option(
        "--detach",
        is_flag=True,
        help="Return when every model is ready; see 'ps', 'logs' and 'stop'.",
    ),
    kit_option(
        "--print",
        "only_print",
        is_flag=True,
        help="Print the command that starts the server, and start nothing.",
    ),
)


def with_container_options(command: Any) -> Any:  # noqa: ANN401
    """Add the options of `--launcher docker`."""
    return cloup.option_group("Container", *_CONTAINER)(command)


def with_engine(command: Any) -> Any:  # noqa: ANN401
    """Add what the commands for servers in containers have."""
    return cloup.option_group("Container", ENGINE)(command)


def container_options(
    *,
    release: str | None,
    gpus: str,
    **fields: Any,  # noqa: ANN401
) -> ContainerOptions:
    """Return the container that the options describe."""
    from triton_kit.serving.containers.launcher import ContainerOptions

    words = tuple(word for word in gpus.split(",") if word)
    return ContainerOptions(release=release or "", gpus=words, **fields)


def refuse_other_options(ctx: click.Context, launcher: str) -> None:
    """Refuse options that the launcher would ignore.

    Raises:
        SpecError: one was given.
    """
    others = _OF_DOCKER if launcher == "embedded" else _OF_EMBEDDED
    for param in ctx.command.params:
        source = ctx.get_parameter_source(param.name or "")
        if param.name in others and source is not ParameterSource.DEFAULT:
            raise SpecError(
                f"{max(param.opts, key=len)} is not for --launcher {launcher}",
                hint="use --launcher docker"
                if launcher == "embedded"
                else "leave it out, or use --launcher embedded",
            )

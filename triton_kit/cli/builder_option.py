"""`--builder`: what builds TensorRT plans where TensorRT is not installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from triton_kit.cli.command import kit_option
from triton_kit.cli.output import notice
from triton_kit.errors import SpecError

T = TypeVar("T")

BUILDER = kit_option(
    "--builder",
    "plan_builder",
    type=click.Choice(["local", "docker", "podman"]),
    default="local",
    help="What builds TensorRT plans. local: the installed TensorRT; without one, the "
    "commands are printed. docker, podman: a container of the release, on this "
    "machine's first GPU.",
)


def run_with(
    name: str, convert: Callable[[], T], *, makes_plans: bool, executor: str
) -> T:
    """Run a conversion, with plans that the chosen builder builds.

    Raises:
        SpecError: the conversion runs elsewhere, where the builder is not.
    """
    if name == "local" or not makes_plans:
        return convert()
    if executor != "local":
        raise SpecError(
            f"--builder {name} builds plans on this machine, --executor {executor} on "
            "the nodes of a cluster",
            hint="leave out one of them",
        )
    from triton_kit.plan_builder import find_plan_builder, with_plans

    return with_plans(convert, find_plan_builder(name), notice)

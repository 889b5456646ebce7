"""`triton-kit build`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import cloup

from triton_kit.cli.builder_option import BUILDER, run_with
from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.executor_option import EXECUTOR
from triton_kit.cli.options import (
    PATH_TO_WRITE,
    dry_run_option,
    json_option,
    output_option,
)
from triton_kit.cli.output import echo, echo_json, notice, warn

if TYPE_CHECKING:
    from triton_kit.build_project import BuildResult


@kit_command(
    examples=(
        "triton-kit build my-project --target gpu",
        "triton-kit build --only decode",
        "triton-kit build -j 4",
    )
)
@cloup.argument(
    "project",
    default=".",
    type=PATH_TO_WRITE,
    help="A project's folder, or its triton-kit.yaml.",
)
@kit_option(
    "-t",
    "--target",
    metavar="NAME",
    help="A target of the project.  [default: the first]",
)
@kit_option(
    "--only",
    multiple=True,
    metavar="MODEL",
    help="Build this model or pipeline alone.  Repeatable.",
)
@output_option("Repository to write.  [default: model_repository in the project]")
@kit_option(
    "--cache",
    type=PATH_TO_WRITE,
    metavar="FOLDER",
    help="Folder of finished conversions, by content.  [default: one in ~/.cache]",
)
@kit_option("--no-cache", is_flag=True, help="Convert everything again.")
@kit_option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Models to build at once.  [default: 1; of a cluster: as many as it has CPUs]",
)
@EXECUTOR
@BUILDER
@dry_run_option("Check the project and list what would be built; write nothing.")
@json_option()
def command(
    project: Path,
    *,
    target: str | None,
    only: tuple[str, ...],
    output: Path | None,
    cache: Path | None,
    no_cache: bool,
    jobs: int | None,
    executor: str,
    plan_builder: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Build the models of PROJECT into a model repository."""
    from triton_kit.build_project import build, planned_steps
    from triton_kit.built import target_of
    from triton_kit.execute.executors import task_executor
    from triton_kit.project.load import load_project

    loaded = load_project(project, target=target)
    if dry_run:
        steps = planned_steps(loaded, only)
        echo_json({"steps": steps}) if as_json else echo("\n".join(steps))
        return
    result = run_with(
        plan_builder,
        lambda: build(
            loaded,
            output=output,
            cache=cache,
            use_cache=not no_cache,
            only=only,
            on_progress=notice,
            executor=task_executor(executor, jobs),
        ),
        makes_plans=target_of(loaded).format == "plan",
        executor=executor,
    )
    for text in result.warnings:
        warn(text)
    if as_json:
        echo_json(_document(result))
    else:
        _print(result)


def _document(result: BuildResult) -> dict[str, object]:
    return {
        "repository": str(result.repository),
        "models": [
            {
                "name": model.name,
                "version": model.version,
                "changed": model.changed,
                "notes": list(result.notes.get(model.name, ())),
            }
            for model in result.models
        ],
        "warnings": list(result.warnings),
    }


def _print(result: BuildResult) -> None:
    for model in result.models:
        state = "new" if model.changed else "unchanged"
        echo(f"{model.name}  version {model.version}  {state}")
        for note in result.notes.get(model.name, ()):
            echo(f"  note: {note}")
    quoted = shlex.quote(str(result.repository))
    echo(f"{result.repository} is ready. Try: triton-kit serve {quoted}")

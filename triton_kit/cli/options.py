"""Options that several commands share: one name, one meaning, declared once."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any  # Any: what click hands over

import click
import cloup

from triton_kit.cli.command import kit_option
from triton_kit.errors import SpecError

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class ExistingPath(click.Path):
    """A path to read. One that is missing or unreadable is an error of usage."""

    def __init__(self, *, folder: bool | None = None) -> None:
        super().__init__(
            file_okay=folder is not True, dir_okay=folder is not False, path_type=Path
        )

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401  as click has it
        """Check that the path can be read, before any work starts."""
        path = Path(value)
        kind = {(True, False): "file", (False, True): "folder"}.get(
            (self.file_okay, self.dir_okay), "file or folder"
        )
        try:
            is_folder = path.stat() and path.is_dir()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            missing = isinstance(error, FileNotFoundError)
            raise SpecError(
                f"{path}: {f'no such {kind}' if missing else reason}"
            ) from error
        if is_folder and not self.dir_okay:
            raise SpecError(f"{path}: expected a file, found a folder")
        if not is_folder and not self.file_okay:
            raise SpecError(f"{path}: expected a folder, found a file")
        if not os.access(path, os.R_OK | (os.X_OK if is_folder else 0)):
            raise SpecError(f"{path}: permission denied")
        return super().convert(value, param, ctx)


PATH_TO_READ = ExistingPath()
FILE_TO_READ = ExistingPath(folder=False)
FOLDER_TO_READ = ExistingPath(folder=True)
PATH_TO_WRITE = click.Path(path_type=Path)
PORT = click.IntRange(0, 65535)
_PROJECT_FILE, _PROJECT_REPOSITORY = "triton-kit.yaml", "model_repository"


def repository_argument(text: str) -> Decorator:
    """`REPOSITORY`: a model repository, or a project that has one.

    Inside a project it may be left out.
    """
    return cloup.argument(
        "repository",
        required=False,
        type=FOLDER_TO_READ,
        callback=project_repository,
        help=f"{text} Default: that of the project in this folder.",
    )


class RepositoryPlace(ExistingPath):
    """A folder, or an address of an object store, which stays a text."""

    def __init__(self) -> None:
        super().__init__(folder=True)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401  as click has it
        """Check a folder now; an address is read by what opens the store."""
        if isinstance(value, str) and "://" in value:
            return value
        return super().convert(value, param, ctx)


def repositories_argument(text: str, *, stores: bool = False) -> Decorator:
    """`REPOSITORIES`: model repositories, or projects that have one; as above.

    Args:
        text: what they are for.
        stores: addresses of object stores are taken, too.
    """
    return cloup.argument(
        "repositories",
        nargs=-1,
        type=RepositoryPlace() if stores else FOLDER_TO_READ,
        callback=lambda ctx, param, values: tuple(
            project_repository(ctx, param, value) for value in values or (None,)
        ),
        help=f"{text} Default: that of the project in this folder.",
    )


def project_repository(
    ctx: click.Context, param: click.Parameter, value: Path | None
) -> Path:
    """Return the repository of a project; any other folder is one itself.

    An address of an object store stays as it is: a str.
    """
    if isinstance(value, str):
        return value
    folder = Path() if value is None else value
    if not (folder / _PROJECT_FILE).is_file():
        if value is None:
            raise click.MissingParameter(ctx=ctx, param=param)
        return value
    repository = folder / _PROJECT_REPOSITORY
    if not repository.is_dir():
        raise SpecError(
            f"{folder}: the project has no {_PROJECT_REPOSITORY} yet",
            hint=f"triton-kit build {shlex.quote(str(folder))}",
        )
    return repository


def json_option(text: str = "Print one JSON document on standard output.") -> Decorator:
    """`--json`: the report as JSON; messages stay on standard error."""
    return kit_option("--json", "as_json", is_flag=True, help=text)


def output_option(text: str, **attrs: Any) -> Decorator:  # noqa: ANN401
    """`-o`, `--output`: the path of what the command creates."""
    words: dict[str, Any] = {"type": PATH_TO_WRITE, "metavar": "PATH", **attrs}
    return kit_option("-o", "--output", help=text, **words)


def release_option(text: str, **attrs: Any) -> Decorator:  # noqa: ANN401
    """`--release`: a Triton release by its container tag (26.06) or version (2.70)."""
    words: dict[str, Any] = {"metavar": "YY.MM|2.N", **attrs}
    return kit_option("--release", former=("--server",), help=text, **words)


def seed_option(text: str, **attrs: Any) -> Decorator:  # noqa: ANN401
    """`--seed`: what random values begin with."""
    words: dict[str, Any] = {"default": 0, "metavar": "N", **attrs}
    return kit_option("--seed", type=click.IntRange(min=0), help=text, **words)


def timeout_option(
    text: str,
    *,
    default: float,
    name: str = "timeout_s",
    former: tuple[str, ...] = (),
) -> Decorator:
    """`--timeout SECONDS`: when the command gives up."""
    return kit_option(
        "--timeout",
        name,
        type=click.FloatRange(min=0, min_open=True),
        default=default,
        metavar="SECONDS",
        former=("--deadline", *former),
        help=text,
    )


def shape_option(text: str, *, former: tuple[str, ...] = ("--shapes",)) -> Decorator:
    """`--shape`: the shape of one input; repeatable."""
    return kit_option(
        "--shape",
        "shapes",
        multiple=True,
        metavar="NAME:SHAPE",
        former=former,
        help=text,
    )


def dry_run_option(text: str) -> Decorator:
    """`--dry-run`: check everything, write nothing."""
    return kit_option("--dry-run", is_flag=True, help=text)

"""The Python environment of a model: packed by the user, by the kit, or one here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # JSON values

from triton_kit.build_as_is import is_as_is
from triton_kit.built import target_of
from triton_kit.errors import SpecError
from triton_kit.project.spec import EMBEDDED, ENVIRONMENT_KEYS, ModelSpec, Project
from triton_kit.triton.releases import find_release

ENVIRONMENT = "EXECUTION_ENV_PATH"
MODEL_DIRECTORY = "$$TRITON_MODEL_DIRECTORY"
_PACKED = "environment.tar.gz"
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What goes beside a model's versions; `name` is the file that is unpacked."""

    name: str = ""
    files: dict[str, Path] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)  # JSON for the manifest
    notes: tuple[str, ...] = ()


def environment_of(
    project: Project, name: str, spec: ModelSpec, scratch: Path, cache: Path | None
) -> Environment:
    """Return the environment that a model asks for; one without files if it asks none.

    Raises:
        SpecError: a file of it is not there, pip cannot get a package, or the embedded
            server cannot use the interpreter.
    """
    check_environment(project, name, spec)
    if spec.environment is not None:
        path = project.path(spec.environment)
        return Environment(name=path.name, files={path.name: path})
    if spec.python is None and spec.requirements is None:
        return Environment()
    folder = scratch / name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if spec.python is not None:
            from triton_kit.python_environment import pack_interpreter

            files = pack_interpreter(_interpreter(project, spec.python), folder)
            return Environment(name=_PACKED, files=files)
        return _packed_requirements(project, spec, folder, cache)
    except SpecError as error:
        key = "requirements" if spec.python is None else "python"
        place = project.place("models", name, key)
        error.message = f"{place}: model {name!r}: {error.message}"
        error.args = (error.message,)
        raise


def check_environment(project: Project, name: str, spec: ModelSpec) -> None:
    """Refuse an environment that cannot be, as far as its files tell.

    Raises:
        SpecError: as `environment_of`.
    """
    given = [key for key in ENVIRONMENT_KEYS if getattr(spec, key) is not None]
    if given and not is_as_is(project, spec):
        raise SpecError(
            f"model {name!r}: {given[0]}: {spec.source} is no Python model",
            hint=f"remove {given[0]}",
        )
    if spec.environment is not None and not project.path(spec.environment).is_file():
        raise SpecError(
            f"model {name!r}: the environment {project.path(spec.environment)} is not "
            "there",
            hint="pack one: conda-pack -o environment.tar.gz; or set `requirements`",
        )
    if spec.requirements is not None:
        from triton_kit.requirements_file import required_packages

        required_packages(project.path(spec.requirements))
    if spec.python is not None:
        if target_of(project).triton != EMBEDDED:
            raise SpecError(
                f"model {name!r}: python: the container has a Python of its own, and "
                f"not {spec.python}",
                hint="give `requirements` for this target, and python in targets: "
                f"{{local: {{models: {{{name}: {{python: {spec.python}}}}}}}}}",
            )
        try:
            is_there = _interpreter(project, spec.python).is_file()
        except RuntimeError:  # the home of a user who is not there
            is_there = False
        if not is_there:
            raise SpecError(
                f"model {name!r}: the interpreter {spec.python} is not there",
                hint="a path to a Python, such as ~/venvs/mine/bin/python",
            )


def _interpreter(project: Project, python: str) -> Path:
    return project.root / Path(python).expanduser()


def _packed_requirements(
    project: Project, spec: ModelSpec, folder: Path, cache: Path | None
) -> Environment:
    from triton_kit.python_requirements import pack_requirements
    from triton_kit.requirements_file import missing_packages

    if spec.requirements is None or spec.parameters.get(ENVIRONMENT):
        return Environment()
    path, triton = project.path(spec.requirements), target_of(project).triton
    if triton == EMBEDDED and not missing_packages(path):
        return Environment()  # its Python models run with the kit's own packages
    release = None if triton == EMBEDDED else find_release(triton)
    packed = pack_requirements(path, folder, release=release, cache=cache)
    size = packed.path.stat().st_size / _MIB
    return Environment(
        name=_PACKED,
        files={_PACKED: packed.path},
        facts={"python": packed.python, "packages": packed.packages},
        notes=(
            f"{path.name}: packed for Python {packed.python} ({size:.1f} MiB): "
            f"{', '.join(packed.packages)}",
        ),
    )

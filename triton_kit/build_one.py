"""One model of a project, however it is built, with all files that go along."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from triton_kit.build_as_is import build_as_is, is_as_is
from triton_kit.build_files import add_files
from triton_kit.built import Built
from triton_kit.project.spec import Project

if TYPE_CHECKING:
    from triton_kit.build_model import MissingPlan


def build_one(
    project: Project, name: str, scratch: Path, cache: Path | None
) -> tuple[Built, MissingPlan | None]:
    """Make one model ready to publish, with all files that go along.

    Raises:
        TritonKitError: it cannot be built.
    """
    spec = project.spec.models[name]
    plan = None
    if is_as_is(project, spec):
        built = build_as_is(project, name, spec)
    else:
        # Only now: a project without conversions does not need what it imports.
        from triton_kit.build_model import build_model

        built, plan = build_model(project, name, spec, scratch, cache)
    return add_files(project, spec, built, scratch, cache), plan

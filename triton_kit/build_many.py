"""The models of a build, several at once: as tasks of an executor."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triton_kit.built import Built, target_of
from triton_kit.errors import SpecError
from triton_kit.execute.parcel import Delivery, Parcel, digest_of_file, files_below
from triton_kit.execute.tasks import (
    Executor,
    OpenExecutor,
    Progress,
    Task,
    plan_needs,
)
from triton_kit.locate import locate_error
from triton_kit.project.conversion import conversion_settings
from triton_kit.project.spec import Project

if TYPE_CHECKING:
    from triton_kit.build_model import MissingPlan

_log = logging.getLogger(__name__)

# What the processes import before their first task.
MODULES = ("triton_kit.build_task",)
_SKIPPED = {"__pycache__", "node_modules"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTask:
    """Which model of which project to build, where its files may go.

    Attributes:
        project: the project, in its folder on the machine that sends the task.
        parcel: the project's files, for a machine that does not have the folder.
        cache: of finished conversions; with a parcel, only whether there is one.
    """

    project: Project
    name: str
    scratch: Path | None = None
    parcel: Parcel | None = None
    cache: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SentModel:
    """A built model from another machine, with its files."""

    built: Built
    version_files: Delivery
    files: Delivery

    def unpack(self, name: str, folder: Path) -> Built:
        """Write the files into a folder; return the model with their paths.

        Raises:
            TransportError: a file did not arrive whole.
        """
        version_files = self.version_files.unpack(name, folder / "version")
        files = self.files.unpack(name, folder / "files")
        return replace(
            self.built,
            version_files=version_files,
            files={**self.built.files, **files},
        )


@dataclass(frozen=True, slots=True)
class ManyBuilds:
    """Builds the models of a project as tasks."""

    project: Project
    scratch: Path
    cache: Path | None
    report: Callable[[str], None]

    def build(
        self, names: Sequence[str], open_executor: OpenExecutor, repository: Path
    ) -> tuple[list[Built], list[MissingPlan]]:
        """Return the models, in the order of their names, and the plans they wait for.

        Raises:
            TritonKitError: a model cannot be built; those that run are ended.
        """
        found: dict[str, tuple[Built, MissingPlan | None]] = {}

        def report(progress: Progress) -> None:
            self._report_progress(names[progress.index], progress)

        with open_executor(MODULES) as executor:
            tasks = self._tasks(names, executor, repository)
            for outcome in executor.run(tasks, report):
                name = names[outcome.index]
                if outcome.error is not None:
                    locate_error(self.project, outcome.error, "models", name)
                    raise outcome.error
                found[name] = self._received(name, executor, outcome.value)
                done = f"{len(found)} of {len(names)}"
                self.report(f"built {name} ({done}) on {outcome.where}")
        models = [found[name] for name in names]
        return [built for built, _ in models], [plan for _, plan in models if plan]

    def _report_progress(self, name: str, progress: Progress) -> None:
        """Report the start of a model, and log its stages as without an executor."""
        if progress.stage:
            _log.info("%s: %s", name, progress.stage)
        else:
            source = self.project.spec.models[name].source
            self.report(f"building {name} from {source} on {progress.where}")

    def _received(
        self,
        name: str,
        executor: Executor,
        value: Any,  # noqa: ANN401
    ) -> tuple[Built, MissingPlan | None]:
        if executor.has_our_files:
            built, plan = value
            return built, plan
        folder = self.scratch / f"{name}-received"
        folder.mkdir()
        return value.unpack(name, folder), None

    def _tasks(
        self, names: Sequence[str], executor: Executor, repository: Path
    ) -> list[Task]:
        project = self.project
        common: dict[str, Any] = {
            "project": project,
            "cache": self.cache,
        }
        if executor.has_our_files:
            call, common["scratch"] = "build_here", self.scratch
        else:
            call, common["parcel"] = (
                "build_sent",
                self._pack(names, executor, repository),
            )
        return [self._task(call, name, common) for name in names]

    def _task(self, call: str, name: str, common: dict[str, Any]) -> Task:
        return Task(
            name=f"model {name!r}",
            call=f"{MODULES[0]}:{call}",
            argument=ModelTask(name=name, **common),
            needs=self._needs(),
        )

    def _needs(self) -> dict[str, float]:
        """Return the resources of a node that can build for the target."""
        target = target_of(self.project)
        if target.format != "plan":
            return {}
        return plan_needs(target.compute_capability)

    def _pack(
        self,
        names: Sequence[str],
        executor: Executor,
        repository: Path,
    ) -> Parcel:
        contents, digests = {}, {}
        for name, path in project_files(self.project, names, [repository]).items():
            digests[name] = digest_of_file(path)
            contents[digests[name]] = path
        executor.offer(contents)
        return Parcel(digests)


def project_files(
    project: Project, models: Collection[str], outputs: Collection[Path]
) -> dict[str, Path]:
    """Return the files of a project that go to other machines, by their names in it.

    Hidden files, and those that were written from it, stay here.

    Args:
        project: whose folder is sent.
        models: those that are converted there.
        outputs: folders that were written from it.

    Raises:
        SpecError: the source of a model, or a file of its conversion, is outside of it.
    """
    _refuse_files_elsewhere(project, models)
    written = {path.resolve() for path in outputs}

    def skip(path: Path) -> bool:
        is_hidden = path.name in _SKIPPED or path.name.startswith(".")
        return is_hidden or path.resolve() in written

    return files_below(project.root, skip=skip)


def _refuse_files_elsewhere(project: Project, models: Collection[str]) -> None:
    root = project.root.resolve()
    for name in models:
        spec = project.spec.models[name]
        values = conversion_settings(spec, project.root).values()
        paths = [project.source(spec), *(v for v in values if isinstance(v, Path))]
        for path in paths:
            if path.exists() and not path.resolve().is_relative_to(root):
                raise SpecError(
                    f"{project.place('models', name)}: {path} is outside of the "
                    "project, whose folder alone is sent to the nodes",
                    hint="copy it into the project, or use --executor local",
                )

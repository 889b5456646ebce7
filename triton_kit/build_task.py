"""One model of a build, as a task of another process or another machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from triton_kit.build_many import ModelTask, SentModel
from triton_kit.build_model import MissingPlan
from triton_kit.build_one import build_one
from triton_kit.built import Built
from triton_kit.errors import ConvertError, TritonKitError
from triton_kit.execute.parcel import deliver
from triton_kit.execute.stages import stages_reworded
from triton_kit.execute.store import Store
from triton_kit.execute.work_folder import work_folder
from triton_kit.files import default_cache


def build_here(task: ModelTask, attempt: int) -> tuple[Built, MissingPlan | None]:
    """Build a model on the machine that has the project's folder."""
    assert task.scratch is not None
    folder = task.scratch / f"{task.name}-{attempt}"
    folder.mkdir(exist_ok=True)
    return build_one(task.project, task.name, folder, task.cache)


def build_sent(task: ModelTask, attempt: int) -> SentModel:
    """Build a model of a project that was sent to this machine."""
    assert task.parcel is not None
    with work_folder() as folder:
        root, scratch = folder / "project", folder / f"work-{attempt}"
        scratch.mkdir()
        Store().unpack(task.parcel, root)
        project = replace(task.project, root=root)
        cache = None if task.cache is None else default_cache()

        def reword(text: str) -> str:
            # The reader knows the project by its own folder.
            return text.replace(str(root), str(task.project.root))

        try:
            with stages_reworded(reword):
                built, missing = build_one(project, task.name, scratch, cache)
        except TritonKitError as error:
            error.message = reword(error.message)
            raise
        if missing is not None:
            raise ConvertError(
                f"model {task.name!r}: the node has no TensorRT to build its plan with",
                hint="pip install 'triton_kit[tensorrt]' on the nodes with GPUs",
            )
        return _sent(built)


def _sent(built: Built) -> SentModel:
    paths = {n: f for n, f in built.files.items() if isinstance(f, Path)}
    return SentModel(
        built=replace(
            built,
            version_files={},
            files={n: f for n, f in built.files.items() if n not in paths},
        ),
        version_files=deliver(built.version_files),
        files=deliver(paths),
    )

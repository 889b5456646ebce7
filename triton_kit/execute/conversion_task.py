"""One conversion, as a task on another machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.results.manifest import MANIFEST, REPRODUCE
from triton_kit.conversion.spec import ConvertResult, ConvertSpec
from triton_kit.conversion.tensorrt.prebuilt import MissingPlansError
from triton_kit.errors import ConvertError, TritonKitError
from triton_kit.execute.parcel import Delivery, Parcel, deliver
from triton_kit.execute.stages import stages_reworded
from triton_kit.execute.store import Store
from triton_kit.execute.work_folder import work_folder
from triton_kit.files import default_cache

_CODE = "code"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionTask:
    """A conversion, and the files that it reads.

    Attributes:
        spec: with the user's own paths.
        parcel: all files, in folders by what they are.
        places: what each path of the spec that is sent is called in the parcel.
    """

    spec: ConvertSpec
    parcel: Parcel
    places: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SentConversion:
    """A result from another machine, in words of the user's paths.

    Attributes:
        result: `artifact` has the right name, in no folder.
        files: of the artifact; none of a dry run.
        script: a prebuilt plan's own `reproduce.sh`; None: the spec makes it.
    """

    result: ConvertResult
    files: Delivery
    script: str | None


def convert_sent(task: ConversionTask, attempt: int) -> SentConversion:  # noqa: ARG001
    """Convert a model that was sent to this machine."""
    with work_folder() as folder:
        Store().unpack(task.parcel, folder)
        spec = spec_in(task, folder)
        hidden = _hiding(task, folder)
        try:
            with stages_reworded(hidden):
                result = convert(spec)
        except MissingPlansError as error:
            raise ConvertError(
                f"{task.spec.source}: the node has no TensorRT to build its plan with",
                hint="pip install 'triton_kit[tensorrt]' on the nodes with GPUs",
            ) from error
        except TritonKitError as error:
            error.message = hidden(error.message)
            error.hint = error.hint and hidden(error.hint)
            raise
        return _sent(result, spec.output.parent, folder, hidden)


def _sent(
    result: ConvertResult, output: Path, folder: Path, hidden: Callable[[str], str]
) -> SentConversion:
    # Of a dry run there is no folder.
    files = {p.name: p for p in sorted(output.iterdir())} if output.is_dir() else {}
    files.pop(MANIFEST, None)
    script = files.pop(REPRODUCE, None)
    text = script.read_text("utf-8") if script else ""
    return SentConversion(
        result=replace(
            result,
            artifact=Path(result.artifact.name),
            notes=tuple(map(hidden, result.notes)),
            manifest=_without_places(result.manifest, hidden),
        ),
        files=deliver(files),
        script=None if str(folder) in text else text or None,
    )


def spec_in(task: ConversionTask, folder: Path) -> ConvertSpec:
    """Return the spec with the paths that its files have below a folder."""
    spec = task.spec

    def moved(path: Path) -> Path:
        place = task.places.get(str(path))
        return path if place is None else folder / place

    def moved_words(text: str) -> str:
        return ",".join(str(moved(Path(word))) for word in text.split(","))

    is_file = isinstance(spec.source, Path)
    has_code = any(name.startswith(f"{_CODE}/") for name in task.parcel.digests)
    return replace(
        spec,
        source=moved(Path(spec.source)) if is_file else spec.source,
        output=folder / "output" / spec.output.name,
        root=folder / _CODE if has_code else None,
        custom_ops=tuple(map(moved, spec.custom_ops)),
        calibration=spec.calibration
        and replace(spec.calibration, data=moved(spec.calibration.data)),
        verify_data=spec.verify_data and moved(spec.verify_data),
        options={
            name: moved_words(text) if _names_files(text, task.places) else text
            for name, text in spec.options.items()
        },
        cache=spec.cache and default_cache(),
    )


def _names_files(text: str, places: Mapping[str, str]) -> bool:
    return any(str(Path(word)) in places for word in text.split(","))


def _hiding(task: ConversionTask, folder: Path) -> Callable[[str], str]:
    """Return what says the user's own paths where a text has this machine's."""
    own = {str(folder / place): path for path, place in task.places.items()}
    own[str(folder / "output")] = str(task.spec.output.parent)
    own[str(folder / _CODE)] = str(task.spec.root or ".")

    def hidden(text: str) -> str:
        for ours, theirs in sorted(own.items(), reverse=True):  # the longer one first
            text = text.replace(ours, theirs)
        return text

    return hidden


def _without_places(
    facts: Mapping[str, Any], hidden: Callable[[str], str]
) -> dict[str, Any]:
    def without(value: Any) -> Any:  # noqa: ANN401  JSON
        if isinstance(value, str):
            return hidden(value)
        if isinstance(value, list):
            return [without(item) for item in value]
        if isinstance(value, dict):
            return {hidden(name): without(item) for name, item in value.items()}
        return value

    plain: dict[str, Any] = without(json.loads(json.dumps(facts)))
    return plain

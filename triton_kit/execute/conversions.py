"""A conversion in another process or on another machine, with the files it needs."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from triton_kit.conversion.output_files import publish_files, require_free_space
from triton_kit.conversion.pipeline import check_places
from triton_kit.conversion.results.cache import files_of_user_code
from triton_kit.conversion.results.manifest import (
    MANIFEST,
    REPRODUCE,
    metadata_files,
    parts_of,
)
from triton_kit.conversion.spec import ConvertResult, ConvertSpec
from triton_kit.conversion.tensorrt.prebuilt import is_prebuilt
from triton_kit.errors import SpecError
from triton_kit.execute.conversion_task import ConversionTask, SentConversion
from triton_kit.execute.parcel import Parcel, digest_of_file
from triton_kit.execute.tasks import OpenExecutor, Progress, Task, plan_needs
from triton_kit.files import write_whole
from triton_kit.gpu import COMPUTE_CAPABILITY
from triton_kit.scratch import scratch_folder

_log = logging.getLogger(__name__)

MODULES = ("triton_kit.execute.conversion_task",)


def convert_on(
    open_executor: OpenExecutor,
    spec: ConvertSpec,
    *,
    compute_capability: str | None = None,
) -> ConvertResult:
    """Convert as `conversion.pipeline.convert` does, as a task of an executor.

    The files that the spec names travel by digest, and so do those of the artifact. A
    function of the user takes the modules below the root along, no other files.

    The stages are logged as they happen, after the name of the node.

    Args:
        open_executor: where the task runs.
        spec: what to convert.
        compute_capability: of the node's GPU that builds a plan (`9.0`); None: any.

    Raises:
        TritonKitError: as `convert`, with this machine's paths.
        TransportError: the task, or a file, did not arrive.
    """
    started_s = time.monotonic()
    check_places(spec)
    if "timing_cache" in spec.options:
        raise SpecError(
            "option timing_cache is a file that the builder writes: it would stay on "
            "the node",
            hint="leave it out, or convert with --executor local",
        )
    needs = _needs_of(spec, compute_capability)
    result = _publish(spec, _run(open_executor, spec, needs))
    return replace(result, seconds=time.monotonic() - started_s)


def _run(
    open_executor: OpenExecutor, spec: ConvertSpec, needs: dict[str, float]
) -> SentConversion:
    """Run the task; raises its error."""
    files, places = _files_of(spec)
    digests = {name: digest_of_file(path) for name, path in files.items()}
    task = ConversionTask(spec=spec, parcel=Parcel(digests), places=places)
    with open_executor(MODULES) as executor:
        executor.offer({digests[name]: path for name, path in files.items()})
        [outcome] = executor.run(
            [
                Task(
                    name=f"conversion of {spec.source}",
                    call=f"{MODULES[0]}:convert_sent",
                    argument=task,
                    needs=needs,
                )
            ],
            _log_progress,
        )
    if outcome.error is not None:
        raise outcome.error
    sent: SentConversion = outcome.value
    return sent


def _needs_of(spec: ConvertSpec, compute_capability: str | None) -> dict[str, float]:
    """Return the resources of the node; raises SpecError if it needs no such GPU."""
    if compute_capability is None:
        return plan_needs() if spec.format == "plan" else {}
    if spec.format != "plan":
        raise SpecError(
            f"compute capability {compute_capability} is that of a plan's GPU, and "
            f"the artifact is {spec.format}",
            hint="leave it out, or ask for a plan",
        )
    if not re.fullmatch(COMPUTE_CAPABILITY, compute_capability):
        raise SpecError(
            f"compute capability {compute_capability!r} cannot be read",
            hint="for example 9.0; triton-kit doctor shows that of a GPU",
        )
    return plan_needs(compute_capability)


def _log_progress(progress: Progress) -> None:
    """Log where the conversion runs, then its stages, as one on this machine does."""
    _log.info("%s", progress.stage or f"on {progress.where}")


def _publish(spec: ConvertSpec, sent: SentConversion) -> ConvertResult:
    """Write all files that came back into the output folder, or none."""
    result = replace(
        sent.result, artifact=spec.output.with_name(sent.result.artifact.name)
    )
    if spec.dry_run:
        return result
    with require_free_space(spec.source), scratch_folder() as folder:
        files = [*sent.files.unpack(str(spec.source), folder).values()]
        script, manifest = metadata_files(spec, result.manifest, folder)
        if sent.script is not None:
            write_whole(script, sent.script)
        publish_files([*files, script, manifest], spec.output.parent)
    return result


def _files_of(spec: ConvertSpec) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the files to send by their names, and the place of each path.

    A file keeps its own name: manifests and messages say it.
    """
    files, places = dict[str, Path](), dict[str, str]()
    for number, path in enumerate(_paths_of(spec)):
        if not path.exists():
            continue  # to read it reports that
        own_name = path.resolve().name if path.name in ("", "..") else path.name
        place = f"{number}/{own_name}"
        parts = parts_of(path)
        if is_prebuilt(path):  # what is known of it lies beside it
            beside = (path.with_name(name) for name in (MANIFEST, REPRODUCE))
            parts |= {file.name: file for file in beside if file.is_file()}
        parent = place if path.is_dir() else str(number)
        # To read the source reports weights that are missing.
        found = {name: file for name, file in parts.items() if file.is_file()}
        files |= {f"{parent}/{name}": file for name, file in found.items()}
        places[str(path)] = place
    code = files_of_user_code(spec)
    return files | {f"code/{name}": file for name, file in code.items()}, places


def _paths_of(spec: ConvertSpec) -> Iterator[Path]:
    if isinstance(spec.source, Path):
        yield spec.source
    yield from spec.custom_ops
    if spec.calibration:
        yield spec.calibration.data
    if spec.verify_data:
        yield spec.verify_data
    for text in spec.options.values():
        words = (Path(word) for word in text.split(","))
        yield from (path for path in words if path.is_file())

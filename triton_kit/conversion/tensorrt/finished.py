"""Plans and engines that are finished: built in a container, or by somebody else.

They are taken in as they are. What is known of one is its header, the kit's own
manifest where that lies beside it, and what TensorRT says where it and a GPU are here.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from triton_kit.artifact import PlanHeader, inspect_plan, is_plan
from triton_kit.conversion.onnx.onnx_file import artifact_files
from triton_kit.conversion.place import place
from triton_kit.conversion.results.manifest import (
    MANIFEST,
    REPRODUCE,
    as_text,
    digests,
    engine_facts,
    reproduce_script,
    sha256,
    write_text,
)
from triton_kit.conversion.results.result import manifest_facts, result_from_manifest
from triton_kit.conversion.spec import Accuracy, ConvertResult, ConvertSpec, GraphSize
from triton_kit.conversion.tensorrt.builder_options import parse_options
from triton_kit.errors import ConvertError, SpecError
from triton_kit.triton.releases import Release, find_release

Json = Any
_KINDS = {"plan": "tensorrt", "rtx": "tensorrt-rtx"}
# All else says how to make an artifact, and this one is made.
_TAKEN = ("source", "output", "format", "release", "cache", "root", "deadline_s")
STATED = "version_compatible"  # the one option that the header does not tell
_SHORT_DIGEST = 12


@dataclass(frozen=True, slots=True)
class PlanToCome:
    """A plan that is to be built where TensorRT and the target's GPU are.

    Attributes:
        output: the plan that was asked for.
        onnx: the verified ONNX file that it is to be built from.
        command: what builds it there, and leaves it where it is looked for.
    """

    output: Path
    onnx: Path
    command: str


class PlansToComeError(ConvertError):
    """All that can be done here is done; plans are to be built elsewhere."""

    def __init__(self, plans: Sequence[PlanToCome]) -> None:
        self.plans = tuple(plans)
        files = "".join(f"\n  {plan.output} from {plan.onnx}" for plan in plans)
        commands = "".join(f"\n  {plan.command}" for plan in plans)
        super().__init__(
            "TensorRT is not installed here: not built, but verified and ready for it:"
            + files,
            hint="run this on a machine with the target's GPU, and the same again here "
            f"once the plan it saves lies beside the ONNX file:{commands}",
        )


def is_finished(source: Path | str) -> bool:
    """Say whether a source is an engine already."""
    return isinstance(source, Path) and source.is_file() and is_plan(source)


def container_plan(onnx: Path, command: Sequence[str]) -> Path:
    """Return where a container's plan of an ONNX file is to appear, and is looked for.

    Its name has a digest of the graph and of the command: a plan of another graph, or
    of other options, is never taken for it.
    """
    digest = hashlib.sha256("\n".join(command).encode())
    for file in artifact_files(onnx):
        digest.update(sha256(file).encode())
    return onnx.with_name(f"{onnx.stem}-{digest.hexdigest()[:_SHORT_DIGEST]}.plan")


def check_fits(path: Path, spec: ConvertSpec) -> PlanHeader:
    """Read an engine's header and hold it against the format and release asked for.

    Raises:
        ConvertError: it is no engine, one of the other library, or of a TensorRT that
            the release does not load.
    """
    header = inspect_plan(path)
    if header.kind != _KINDS.get(spec.format):
        other = next(f for f, kind in _KINDS.items() if kind == header.kind)
        loads = ", which Triton does not load" if other == "rtx" else ""
        raise ConvertError(
            f"{path}: is an engine of {header.kind} {header.version_text}{loads}; "
            f"asked for was {spec.format}",
            hint=f"it can be taken in as what it is, and no more: --format {other}",
        )
    release = find_release(spec.release) if spec.release else None
    if release and spec.format == "plan":
        _check_release(path, header, release, spec)
    return header


def _check_release(
    path: Path, header: PlanHeader, release: Release, spec: ConvertSpec
) -> None:
    if release.tensorrt is None:
        return
    wanted = tuple(map(int, release.tensorrt.split(".")[:3]))
    is_compatible = parse_options(spec.options).get(STATED) is True
    found = header.version[:3]
    if found == wanted or (is_compatible and found <= wanted):
        return
    raise ConvertError(
        f"{path}: was built by TensorRT {header.version_text}, Triton "
        f"{release.release} loads plans of {release.tensorrt}",
        hint="build it in that release's container (convert the ONNX file with "
        "--format plan for the command), or, if an older TensorRT built it as "
        f"version compatible, say so: --option {STATED}=true",
    )


def release_note(spec: ConvertSpec) -> tuple[str, ...]:
    """Say where an engine was held against no release's TensorRT."""
    if spec.format != "plan":
        return ()
    if spec.release is None:
        return ("no release was named: whether a Triton loads the plan is not checked",)
    if find_release(spec.release).tensorrt is None:
        return (f"which TensorRT Triton {spec.release} has is not known here",)
    return ()


def take_in(spec: ConvertSpec, scratch: Path) -> ConvertResult:
    """Write a finished engine to its place, with a manifest of what is known of it.

    Raises:
        SpecError: the spec asks to change it.
        ConvertError: it does not fit the format or the release, is cut short, or is
            not the file that the manifest beside it names.
    """
    source = Path(spec.source)
    _check_unchanged(spec)
    check_fits(source, spec)
    made = scratch / spec.output.name
    shutil.copyfile(source, made)
    known = _known(source)
    facts = _as_known(known, made) if known else _as_found(spec, made)
    facts["notes"] = [*facts["notes"], *release_note(spec)]
    files = [made, *_papers(spec, source, facts, scratch)]
    if not spec.dry_run:
        place(files, spec.output.parent)
    return replace(result_from_manifest(facts, spec, seconds=0.0), from_cache=False)


def _check_unchanged(spec: ConvertSpec) -> None:
    plain = ConvertSpec(source=spec.source, output=spec.output, format=spec.format)
    asked = [
        field.name
        for field in fields(spec)
        if field.name not in (*_TAKEN, "options", "dry_run")
        and getattr(spec, field.name) != getattr(plain, field.name)
    ]
    asked += [f"option {name}" for name in spec.options if name != STATED]
    if asked:
        raise SpecError(
            f"{spec.source}: is a finished engine, {', '.join(asked)} cannot be "
            "changed any more",
            hint="give them where it is built, or convert its ONNX file",
        )


def _known(source: Path) -> dict[str, Json] | None:
    """Return the kit's manifest of this very file, where it lies beside it."""
    manifest = source.parent / MANIFEST
    try:
        facts: dict[str, Json] = json.loads(manifest.read_text(encoding="utf-8"))
        digests_of = {name: file["sha256"] for name, file in facts["files"].items()}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConvertError(
            f"{manifest}: not a manifest: {error!r}", hint="move it away"
        ) from error
    if source.name not in digests_of or "accuracy" not in facts:
        return None  # of something else
    if sha256(source) != digests_of[source.name]:
        raise ConvertError(
            f"{source}: is not the file that {manifest} names: it has changed since",
            hint="take both from where it was built, or move the manifest away",
        )
    return facts


def _as_known(known: Mapping[str, Json], made: Path) -> dict[str, Json]:
    (file,) = (f for n, f in known["files"].items() if n == known["artifact"])
    return {**known, "artifact": made.name, "files": {made.name: file}}


def _as_found(spec: ConvertSpec, made: Path) -> dict[str, Json]:
    """Return the facts of an engine that nothing is known of but its header."""
    size = GraphSize(bytes=made.stat().st_size, nodes=0, ops={})
    result = ConvertResult(
        artifact=spec.output,
        format=spec.format,
        precision=None,
        inputs=(),
        outputs=(),
        before=size,
        after=size,
        accuracy=Accuracy(outputs=(), points=(), method="none", runtime_level=None),
        notes=(
            "taken in as it is: its answers were not held against an original's, and "
            "the GPU it was built on is not known",
        ),
    )
    return manifest_facts(
        result,
        spec,
        [made],
        source=digests(Path(spec.source)),
        engine=engine_facts(made, None),
        sparsity=None,
    )


def _papers(
    spec: ConvertSpec, source: Path, facts: Mapping[str, Json], folder: Path
) -> list[Path]:
    """Write the manifest, and the script: the one that made it, where it is there."""
    manifest, script = folder / MANIFEST, folder / REPRODUCE
    original = source.parent / REPRODUCE
    is_known = facts["precision"] is not None and original.is_file()
    text = original.read_text("utf-8") if is_known else reproduce_script(spec)
    write_text(script, text, executable=True)
    write_text(manifest, as_text(facts))
    return [script, manifest]

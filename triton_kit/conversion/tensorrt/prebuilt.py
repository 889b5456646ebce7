"""Prebuilt plans and engines: from a container, or from another tool.

They are imported unchanged. The kit reads the header, its own manifest where that lies
beside the plan, and asks TensorRT where that and a GPU are here.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from triton_kit.artifact import PlanHeader, inspect_plan, is_plan
from triton_kit.conversion.onnx.onnx_file import artifact_files
from triton_kit.conversion.output_files import publish_files
from triton_kit.conversion.results.manifest import (
    MANIFEST,
    REPRODUCE,
    as_text,
    digests,
    engine_facts,
    read_manifest,
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
# The others say how to build an artifact, and this one is built.
_APPLICABLE = ("source", "output", "format", "release", "cache", "root", "timeout_s")
STATED = "version_compatible"  # the one option that the header does not tell
_SHORT_DIGEST = 12


@dataclass(frozen=True, slots=True)
class MissingPlan:
    """A plan that must be built on a machine with TensorRT and the target's GPU.

    Attributes:
        output: the plan that was asked for.
        onnx: the verified ONNX file to build it from.
        plan: where the next build looks for it, beside the ONNX file.
        image: of the container that builds it.
        words: of trtexec in it, where the ONNX file's folder is /work.
    """

    output: Path
    onnx: Path
    plan: Path
    image: str
    words: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command that builds it on this machine."""
        return shlex.join(
            [
                *("docker", "run", "--rm", "--gpus", "device=0"),
                *("-v", f"{self.onnx.parent.resolve()}:/work", self.image),
                *("trtexec", f"--saveEngine=/work/{self.plan.name}", *self.words),
            ]
        )


class MissingPlansError(ConvertError):
    """Plans must be built on another machine; all else is done.

    `result` is the conversion's up to its verified ONNX file; None for several.
    """

    def __init__(
        self, plans: Sequence[MissingPlan], result: ConvertResult | None = None
    ) -> None:
        self.plans, self.result = tuple(plans), result
        files = "".join(f"\n  {plan.output} from {plan.onnx}" for plan in plans)
        commands = "".join(f"\n  {plan.command}" for plan in plans)
        super().__init__(
            "TensorRT is not installed here: not built, but verified and ready for it:"
            + files,
            hint="run build-plans.sh (beside the ONNX files) on a machine with the "
            "target's GPU, or these commands, and then the same again here, with the "
            f"plans beside the ONNX files:{commands}",
        )


def is_prebuilt(source: Path | str) -> bool:
    """Say whether a source is a plan or an engine."""
    return isinstance(source, Path) and source.is_file() and is_plan(source)


def container_plan(onnx: Path, command: Sequence[str]) -> Path:
    """Return where a container writes the plan of an ONNX file.

    Its name has a digest of the graph and of the command: a plan of another graph, or
    of other options, has another name.
    """
    digest = hashlib.sha256("\n".join(command).encode())
    for file in artifact_files(onnx):
        digest.update(sha256(file).encode())
    return onnx.with_name(f"{onnx.stem}-{digest.hexdigest()[:_SHORT_DIGEST]}.plan")


def check_fits(path: Path, spec: ConvertSpec) -> PlanHeader:
    """Read an engine's header and compare it with the format and release asked for.

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
            f"expected {spec.format}",
            hint=f"import it as what it is: --artifact {other}",
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
        "--artifact plan for the command), or, if an older TensorRT built it as "
        f"version compatible, say so: --option {STATED}=true",
    )


def release_note(spec: ConvertSpec) -> tuple[str, ...]:
    """Say where an engine was compared with no release's TensorRT."""
    if spec.format != "plan":
        return ()
    if spec.release is None:
        return ("no release was given: whether a Triton loads the plan is not checked",)
    if find_release(spec.release).tensorrt is None:
        return (f"which TensorRT Triton {spec.release} has is not known here",)
    return ()


def import_plan(spec: ConvertSpec, scratch: Path) -> ConvertResult:
    """Publish a prebuilt engine, with a manifest of what is known of it.

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
    try:
        facts = _as_known(known, made) if known else _as_found(spec, made)
        facts["notes"] = [*facts["notes"], *release_note(spec)]
        result = result_from_manifest(facts, spec, seconds=0.0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConvertError(
            f"{source.parent / MANIFEST}: not a manifest of triton-kit: {error!r}",
            hint="move it away",
        ) from error
    files = [made, *_metadata_files(spec, source, facts, scratch)]
    if not spec.dry_run:
        publish_files(files, spec.output.parent)
    return replace(result, from_cache=False)


def _check_unchanged(spec: ConvertSpec) -> None:
    plain = ConvertSpec(source=spec.source, output=spec.output, format=spec.format)
    asked = [
        field.name
        for field in fields(spec)
        if field.name not in (*_APPLICABLE, "options", "dry_run")
        and getattr(spec, field.name) != getattr(plain, field.name)
    ]
    asked += [f"option {name}" for name in spec.options if name != STATED]
    if asked:
        raise SpecError(
            f"{spec.source}: is a prebuilt engine, {', '.join(asked)} cannot be "
            "changed",
            hint="set them where it is built, or convert its ONNX file",
        )


def _known(source: Path) -> dict[str, Json] | None:
    """Return the kit's manifest of this very file, where it lies beside it."""
    manifest = source.parent / MANIFEST
    if not manifest.exists():
        return None
    facts = read_manifest(manifest)
    digests_of = {name: file["sha256"] for name, file in facts["files"].items()}
    if source.name not in digests_of or "accuracy" not in facts:
        return None  # it is of another artifact
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
    """Return the facts of an engine that has no manifest."""
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
            "imported unchanged: its outputs were not compared with an original's, and "
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


def _metadata_files(
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

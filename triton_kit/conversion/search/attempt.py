"""One attempt: the graph in one precision, written to a file and verified."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from onnx import ModelProto

from triton_kit.conversion.onnx.onnx_file import artifact_files, save_onnx
from triton_kit.conversion.output_files import link_or_copy
from triton_kit.conversion.precision.candidate import Candidate, make_candidate
from triton_kit.conversion.search.work import Work
from triton_kit.conversion.spec import Accuracy, ConvertSpec, TriedPrecision
from triton_kit.conversion.verify.gate import verify
from triton_kit.conversion.verify.node_losses import NodeLoss, node_losses
from triton_kit.conversion.workers.models import LEVELS
from triton_kit.errors import ConvertError, TritonKitError, VerifyError

NODES_NAMED = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A candidate that passed the gate, the file it is in, and what else was tried."""

    spec: ConvertSpec
    candidate: Candidate
    path: Path
    accuracy: Accuracy
    notes: tuple[str, ...] = ()
    tried: tuple[TriedPrecision, ...] = ()


def attempt(
    work: Work, *, extra_kept: Mapping[str, str] | None = None, name_nodes: bool = True
) -> Attempt:
    """Bring the model to the spec's precision and verify it.

    Raises:
        ConvertError: it cannot be brought there.
        VerifyError: the gate refuses it; with `name_nodes` the error names the nodes
            that lose most.
    """
    kept = f", {len(extra_kept)} nodes in fp32" if extra_kept else ""
    _log.info("converting to %s%s", work.spec.precision, kept)
    try:
        candidate = candidate_of(work, extra_kept)
    except ConvertError:
        simpler = _without_simplifying(work, extra_kept)
        if simpler is not None:
            return simpler
        raise
    # A folder of its own: an attempt that passed is kept while others are tried.
    path = Path(tempfile.mkdtemp(dir=work.scratch)) / _file_name(work.spec)
    _write(candidate, path)
    _log.info("comparing its outputs with those of the source")
    try:
        accuracy = _verify(work, path, candidate.model)
    except VerifyError as error:
        simpler = _without_simplifying(work, extra_kept)
        if simpler is not None:
            return simpler
        raise (_with_nodes(work, candidate, error) if name_nodes else error) from error
    notes = (*work.prepared.notes, *candidate.notes)
    return Attempt(
        spec=work.spec, candidate=candidate, path=path, accuracy=accuracy, notes=notes
    )


def _write(candidate: Candidate, path: Path) -> None:
    # Weights that are apart are named in the graph: such a file keeps its name.
    if candidate.file is not None and len(artifact_files(candidate.file)) == 1:
        link_or_copy(candidate.file, path)
    else:
        save_onnx(candidate.model, path)


def _file_name(spec: ConvertSpec) -> str:
    # Its final name, where it is the artifact: it may name its weight file.
    is_artifact = spec.format == "onnx"
    return spec.output.name if is_artifact else spec.output.stem + ".onnx"


def candidate_of(work: Work, extra_kept: Mapping[str, str] | None = None) -> Candidate:
    """Bring the model to the spec's precision, without verifying it."""
    return make_candidate(
        work.prepared,
        work.spec,
        observed=work.observed,
        extra_kept=extra_kept,
        is_sparing=work.is_sparing,
    )


def _verify(work: Work, path: Path, model: ModelProto) -> Accuracy:
    return verify(
        path,
        model,
        work.reference,
        gate=work.spec.gate,
        precision=work.floor_precision(work.spec.precision),
        levels=LEVELS if work.spec.format == "onnx" else ("off",),
        scratch=work.scratch,
        root=work.spec.root,
    )


def _without_simplifying(
    work: Work, extra_kept: Mapping[str, str] | None
) -> Attempt | None:
    """Try without simplifying, where simplifying is what broke the graph."""
    plain = work.unsimplified() if work.spec.simplify else None
    if plain is None:
        return None
    spec = replace(work.spec, simplify=False)
    return attempt(
        replace(work, spec=spec, prepared=plain.prepared, observed=plain.observed),
        extra_kept=extra_kept,
    )


def losses_of(work: Work, candidate: Candidate) -> list[NodeLoss]:
    """Return the nodes that lose most signal, the worst first; none if unknown."""
    try:
        return node_losses(
            work.prepared.model,
            candidate.model,
            work.reference.feeds,
            scratch=work.scratch,
            timeout_s=work.spec.timeout_s,
        )
    except TritonKitError:  # the graph does not run with its values exposed
        return []


def _with_nodes(work: Work, candidate: Candidate, error: VerifyError) -> VerifyError:
    found = [s for s in losses_of(work, candidate) if s.lost_db > 1][:NODES_NAMED]
    message = f"{work.spec.source} as {work.spec.precision}: {error.message}"
    if work.spec.sparsity:
        return VerifyError(
            message,
            hint="pruning loses signal by design: train with 2:4 weights, or set the "
            "floor you accept (--min-snr-db)",
        )
    if not found:
        return VerifyError(message, hint=error.hint)
    before = f"{error.hint}; or " if error.hint else ""
    nodes = ", ".join(f"{s.node!r} ({s.op_type}, {s.snr_db:.0f} dB)" for s in found)
    return VerifyError(
        f"{message}; most is lost in {nodes}",
        hint=f"{before}--keep-fp32 {found[0].node}, or --bisect to find the fewest "
        "such nodes",
    )

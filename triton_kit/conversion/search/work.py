"""What is given is read, and the original runs once, before any candidate is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from onnx import ModelProto

from triton_kit.conversion.onnx.onnx_file import save_for_worker
from triton_kit.conversion.onnx.prepare import Prepared, prepare
from triton_kit.conversion.onnx.source_model import SourceModel
from triton_kit.conversion.precision.emulate import lowest_precision
from triton_kit.conversion.precision.observed import Observed
from triton_kit.conversion.shapes import check_profiles, full_profiles
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.verify.agreements import refuse_unusable
from triton_kit.conversion.verify.branches import one_sided_branches
from triton_kit.conversion.verify.check import Reference
from triton_kit.conversion.verify.data import choose_samples
from triton_kit.conversion.verify.gate import make_reference, verify
from triton_kit.conversion.verify.inputs import (
    VerificationInput,
    make_inputs,
    write_inputs,
)
from triton_kit.conversion.verify.original import run_original, start_original
from triton_kit.conversion.verify.own_noise import OwnNoise, has_random_nodes
from triton_kit.conversion.workers.models import FeedFiles
from triton_kit.conversion.workers.samples import Outputs
from triton_kit.errors import VerifyError
from triton_kit.options.conversion import SNR_FLOORS_DB, Gate
from triton_kit.options.shapes import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What every attempt shares.

    `source_precision` is the lowest in the source, which no artifact can exceed;
    `is_sparing` keeps int8 for CPUs to large products. `unsimplified` returns the work
    on the graph as it was, where simplifying broke it, else None.
    """

    spec: ConvertSpec
    source: SourceModel
    source_precision: str
    profiles: tuple[Profile, ...]
    prepared: Prepared
    observed: Observed
    reference: Reference
    scratch: Path
    is_sparing: bool = False
    unsimplified: Callable[[], Work | None] = lambda: None

    def floor_precision(self, precision: str) -> str:
        """Return whose floor holds: a precision's, or the source's if it is lower."""
        return min(
            (precision, self.source_precision),
            key=lambda name: SNR_FLOORS_DB[name]["values"],
        )


def begin_work(spec: ConvertSpec, source: SourceModel, scratch: Path) -> Work:
    """Read everything that is given, and run the original once, beside the passes."""
    tensors = source.facts.inputs
    check_profiles(spec.profiles, tensors, spec.source)
    profiles = full_profiles(spec.profiles, tensors, max_batch_size=spec.max_batch_size)
    samples = choose_samples(spec, tensors, example=source.example)
    inputs = make_inputs(
        tensors,
        profiles,
        samples=samples.verification,
        run_all=bool(spec.verify_data or source.example),
        ranges=spec.ranges,
        seed=spec.seed,
    )
    prepared, reference = _run_original(spec, source, inputs, samples.about, scratch)
    observe = partial(
        Observed,
        calibration=samples.calibration,
        verification=tuple(item.feed for item in inputs),
        best={name: bounds.opt for name, bounds in profiles[0].items()},
        timeout_s=spec.timeout_s,
    )
    work = Work(
        spec=spec,
        source=source,
        source_precision=lowest_precision(prepared.model),
        profiles=profiles,
        prepared=prepared,
        observed=observe(prepared.model),
        reference=reference,
        scratch=scratch,
    )
    if not spec.simplify or spec.sparsity:
        return work
    return replace(work, unsimplified=cache(partial(_unsimplified, work, observe)))


def _run_original(
    spec: ConvertSpec,
    source: SourceModel,
    inputs: Sequence[VerificationInput],
    data: str,
    scratch: Path,
) -> tuple[Prepared, Reference]:
    """Run the original, beside the passes.

    Raises:
        SpecError: the gate's task or function is not for such outputs.
        VerifyError: it does not run, or proves nothing.
    """
    feeds = write_inputs(inputs, scratch / "feeds")
    with start_original(spec, source, feeds, scratch) as finish:
        prepared = prepare(spec, source, scratch)
        outputs = finish(prepared)
    refuse_unusable(
        spec.gate, outputs, root=spec.root, scratch=scratch, timeout_s=spec.timeout_s
    )

    def run_again(others: FeedFiles) -> list[Outputs]:
        folder = scratch / "again"
        return run_original(spec, source, others, prepared, scratch, folder=folder)

    reference = make_reference(
        feeds,
        outputs,
        timeout_s=spec.timeout_s,
        data=data,
        noise=OwnNoise(feeds, outputs, run_again, scratch / "noisy"),
        is_random=has_random_nodes(prepared.model),
        identical_rows=inputs[-1].rows,
        notes=one_sided_branches(
            prepared.model,
            feeds,
            folder=scratch / "branches",
            timeout_s=spec.timeout_s,
        ),
    )
    return prepared, reference


def _unsimplified(work: Work, observe: Callable[[ModelProto], Observed]) -> Work | None:
    """Return the work without simplifying, if that is what broke the graph."""
    path = work.scratch / "simplified.onnx"
    save_for_worker(work.prepared.model, path)
    try:
        verify(
            path,
            work.prepared.model,
            work.reference,
            gate=Gate(),
            precision=work.floor_precision("fp32"),
            levels=("off",),
            scratch=work.scratch,
        )
    except VerifyError as error:
        spec = replace(work.spec, simplify=False)
        again = prepare(spec, work.source, work.scratch)
        note = f"kept the graph as it was: simplified, {error.message}"
        return replace(
            work,
            spec=spec,
            prepared=replace(again, notes=(*again.notes, note)),
            observed=observe(again.model),
        )
    return None

"""What is given is read, and the original runs once, before any candidate is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from triton_kit.conversion.onnx.prepare import Prepared, prepare
from triton_kit.conversion.onnx.source_model import SourceModel
from triton_kit.conversion.precision.emulate import lowest_precision
from triton_kit.conversion.shapes import check_profiles, full_profiles
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.verify.agreements import refuse_unusable
from triton_kit.conversion.verify.branches import one_sided_branches
from triton_kit.conversion.verify.check import Reference
from triton_kit.conversion.verify.data import choose_samples
from triton_kit.conversion.verify.gate import make_reference
from triton_kit.conversion.verify.inputs import make_inputs, write_inputs
from triton_kit.conversion.verify.original import run_original, start_original
from triton_kit.conversion.verify.own_noise import OwnNoise, has_random_nodes
from triton_kit.conversion.workers.samples import Feed
from triton_kit.options.shapes import Profile
from triton_kit.tensors import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What every attempt shares.

    `source_precision` is the lowest in the source, which no artifact can exceed;
    `calibration` has all samples; `is_sparing` keeps int8 for CPUs to large products.
    """

    spec: ConvertSpec
    source: SourceModel
    source_precision: str
    profiles: tuple[Profile, ...]
    prepared: Prepared
    reference: Reference
    calibration: Feed | None
    verification_feeds: tuple[Feed, ...]
    scratch: Path
    is_sparing: bool = False

    @property
    def best_shapes(self) -> dict[str, Shape]:
        """The shapes that the first profile is tuned for."""
        return {name: bounds.opt for name, bounds in self.profiles[0].items()}


def begin_work(spec: ConvertSpec, source: SourceModel, scratch: Path) -> Work:
    """Read everything that is given, and run the original once, beside the passes."""
    tensors = source.facts.inputs
    check_profiles(spec.profiles, tensors, spec.source)
    profiles = full_profiles(spec.profiles, tensors, max_batch_size=spec.max_batch_size)
    samples = choose_samples(spec, tensors)
    inputs = make_inputs(
        tensors,
        profiles,
        samples=samples.verification,
        run_all=spec.verify_data is not None,
        ranges=spec.ranges,
        seed=spec.seed,
    )
    feeds = write_inputs(inputs, scratch / "feeds")
    with start_original(spec, source, feeds, scratch) as finish:
        prepared = prepare(spec, source, scratch)
        outputs = finish(prepared)
    refuse_unusable(
        spec.gate,
        outputs,
        root=spec.root,
        scratch=scratch,
        timeout_s=spec.timeout_s,
    )
    return Work(
        spec=spec,
        source=source,
        source_precision=lowest_precision(prepared.model),
        profiles=profiles,
        prepared=prepared,
        reference=make_reference(
            feeds,
            outputs,
            timeout_s=spec.timeout_s,
            data=samples.about,
            noise=OwnNoise(
                feeds,
                outputs,
                lambda inputs: run_original(
                    spec, source, inputs, prepared, scratch, folder=scratch / "again"
                ),
                scratch / "noisy",
            ),
            is_random=has_random_nodes(prepared.model),
            notes=one_sided_branches(
                prepared.model,
                feeds,
                folder=scratch / "branches",
                timeout_s=spec.timeout_s,
            ),
        ),
        calibration=samples.calibration,
        verification_feeds=tuple(item.feed for item in inputs),
        scratch=scratch,
    )

"""Outputs are held against the reference; the first fault is an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import floor, inf, isfinite

from triton_kit.conversion.spec import OutputAccuracy
from triton_kit.conversion.verify.compare import (
    Tally,
    least_power,
    missed,
    rows_differ_db,
    tally,
)
from triton_kit.conversion.verify.inputs import IDENTICAL
from triton_kit.conversion.verify.own_noise import OwnNoise
from triton_kit.conversion.workers.models import FeedFiles
from triton_kit.conversion.workers.samples import Outputs
from triton_kit.errors import VerifyError
from triton_kit.options.conversion import Gate, Use

# The floor is for all that was run. One shape, one row, and one slice, such as a
# channel, has fewer values to average over and may be this much worse, but not lost.
POINT_ALLOWANCE_DB = 10.0
ROW_ALLOWANCE_DB = 20.0
SLICE_ALLOWANCE_DB = 30.0
LOST_DB = 6.0
# No artifact has to be closer to its original than that is to itself under noise of one
# step of float32; less this, as another artifact of the same noise is 3 dB further.
OWN_NOISE_MARGIN_DB = 6.0
# The same for an optimisation level, which rounds anew in every node, and not only at
# the inputs: ONNX Runtime's NCHWc convolutions moved one network 8 dB further.
LEVEL_MARGIN_DB = 12.0
FEW_ROWS = 4  # a shape of fewer rows is judged as a row
# Share of whole numbers that must agree where no agreement was asked for.
EXACT_AGREEMENT = {"fp32": 1.0}
DEFAULT_AGREEMENT = 0.99
# Class scores whose best class stays need less SNR, if that was seen often enough.
KEPT_AGREEMENT = 0.99
KEPT_ROWS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The original's outputs, computed once for every candidate.

    `row_axes` are those of `equal_rows`, for the feed of equal rows; `random` are the
    outputs that the original itself does not repeat; `noise` is None where the original
    cannot be run again; `notes` say what the inputs left out.
    """

    feeds: FeedFiles
    outputs: tuple[Outputs, ...]
    timeout_s: float
    data: str  # what the inputs are, in words
    noise: OwnNoise | None = None
    random: frozenset[str] = frozenset()
    row_axes: Mapping[str, int | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def points(self) -> tuple[str, ...]:
        """What each feed belongs to: a shape, or the user's samples."""
        return self.feeds.labels


class Check:
    """Holds outputs against the reference; a fault is a VerifyError.

    `own_margin_db`: how much further than the original's own noise they may be.
    """

    def __init__(
        self,
        reference: Reference,
        gate: Gate,
        precision: str,
        *,
        own_margin_db: float = OWN_NOISE_MARGIN_DB,
    ) -> None:
        self._own_margin_db = own_margin_db
        self.reference = reference
        self.gate = gate
        self._precision = precision
        self.notes: dict[str, None] = {}  # an ordered set

    def outputs(self, outputs: Sequence[Outputs]) -> tuple[OutputAccuracy, ...]:
        """Return the figures of every output, or say which one fails, and where.

        Raises:
            VerifyError: an output is not what the gate requires.
        """
        reference = self.reference
        if [list(a) for a in outputs] != [list(a) for a in reference.outputs]:
            wanted = list(reference.outputs[0])
            raise VerifyError(f"outputs are {list(outputs[0])} instead of {wanted}")
        found = tuple(self._output(name, outputs) for name in reference.outputs[0])
        self._check_rows(outputs)
        is_judged = any(figures.top1_agreement is not None for figures in found)
        if self.gate.min_top1_agreement is not None and not is_judged:
            raise VerifyError(
                "no output looks like class scores, so there is no top-1 agreement",
                hint="choose what the outputs mean: --task",
            )
        return found

    def _output(self, name: str, outputs: Sequence[Outputs]) -> OutputAccuracy:
        power = least_power([feed[name] for feed in self.reference.outputs])
        ours = self._tallies(name, outputs, power)
        total = sum(ours.values(), start=Tally())
        fault = self._fault(ours, total, power, name)
        if fault and (own := self._own_noise(name, power)):
            own_total = sum(own.values(), start=Tally())
            fault = self._fault(ours, total, power, name, own, own_total)
            if fault is None:
                self.notes[
                    f"output {name!r} of the original itself moves by "
                    f"{own_total.snr_db:.1f} dB for input noise of 1e-7: the floor "
                    "is lowered to that"
                ] = None
        if fault:
            raise VerifyError(f"output {name!r}{fault}")
        # The slice that is reported is one that was judged.
        return total.figures(name, skip_positions=self.gate.has_agreement)

    def _tallies(
        self, name: str, outputs: Sequence[Outputs], power: float
    ) -> dict[str, Tally]:
        found: dict[str, Tally] = {}
        reference = self.reference
        for point, a, b in zip(
            reference.points, reference.outputs, outputs, strict=True
        ):
            here = tally(a[name], b[name], name=name, least_power=power)
            found[point] = found.get(point, Tally()) + here
        return found

    def _own_noise(self, name: str, power: float) -> dict[str, Tally] | None:
        noise = self.reference.noise
        if self.gate.min_snr_db is not None or noise is None or not noise.moved:
            return None
        return self._tallies(name, noise.moved, power)

    def _fault(
        self,
        ours: Mapping[str, Tally],
        total: Tally,
        power: float,
        name: str,
        own: Mapping[str, Tally] | None = None,
        own_total: Tally | None = None,
    ) -> str | None:
        """Return what is wrong, beyond what the original's own noise explains."""
        if name in self.reference.random:
            faults = [fault for tallied in ours.values() for fault in tallied.faults]
            return f": {'; '.join(faults)}" if faults else None
        floor_db = self._floor_db(total)
        row_floor = _lowered(floor_db, ROW_ALLOWANCE_DB)
        full_floor = _lowered(floor_db, POINT_ALLOWANCE_DB)
        for point, at_point in ours.items():
            faults = list(at_point.faults)
            point_floor = row_floor if at_point.samples < FEW_ROWS else full_floor
            noise = own[point] if own else None
            faults += self._too_low(
                "SNR",
                at_point.snr_beside_db(power),
                point_floor,
                noise.snr_beside_db(power) if noise else inf,
            )
            faults += self._too_low(
                "SNR of one row",
                at_point.worst_row_db,
                row_floor,
                noise.worst_row_db if noise else inf,
            )
            if faults:
                return f" at {point}: {'; '.join(faults)}"
        faults = self._faults(total, name, floor_db, own_total)
        return f": {'; '.join(faults)}" if faults else None

    def _floor_db(self, total: Tally) -> float:
        use: Use = "values"
        if self.gate.has_agreement:
            use = "task"
        elif total.rows >= KEPT_ROWS and total.hits >= KEPT_AGREEMENT * total.rows:
            use = "classes"
        return self.gate.snr_floor_db(self._precision, use)

    def _faults(
        self, total: Tally, name: str, floor_db: float, own: Tally | None
    ) -> list[str]:
        gate, figures = self.gate, total.figures(name)
        faults = self._too_low(
            "SNR", figures.snr_db, floor_db, own.snr_db if own else inf
        )
        faults += self._slice_faults(total, floor_db, own)
        if gate.min_cosine is not None and figures.cosine < gate.min_cosine:
            found = missed(figures.cosine, gate.min_cosine, 6)
            faults.append(f"cosine {found}, needs {gate.min_cosine}")
        most = gate.max_abs_error
        if most is not None and figures.max_abs_error > most:
            faults.append(
                f"largest error {figures.max_abs_error:.6g}, allowed {most:g}"
            )
        agreement, needed = figures.top1_agreement, self._needed_agreement(total)
        if agreement is not None and agreement < needed:
            what = "equal values" if total.is_exact else "top-1 agreement"
            faults.append(f"{what} {missed(agreement, needed, 4)}, needs {needed:g}")
        return faults

    def _slice_faults(
        self, total: Tally, floor_db: float, own: Tally | None
    ) -> list[str]:
        """Judge slices; a task judges positions in an image itself."""
        has_task = self.gate.has_agreement
        worst = total.slices.worst(skip_positions=has_task)
        if worst is None:
            return []
        own_worst = own.slices.worst(skip_positions=has_task) if own else None
        return self._too_low(
            f"SNR of {worst}",
            worst.snr_db,
            _lowered(floor_db, SLICE_ALLOWANCE_DB),
            own_worst.snr_db if own_worst else inf,
        )

    def _needed_agreement(self, total: Tally) -> float:
        if self.gate.min_top1_agreement is not None:
            return self.gate.min_top1_agreement
        if not total.is_exact:
            return 0.0
        return EXACT_AGREEMENT.get(self._precision, DEFAULT_AGREEMENT)

    def _too_low(
        self, what: str, found_db: float, floor_db: float, own_db: float
    ) -> list[str]:
        if isfinite(own_db):
            floor_db = min(floor_db, floor(own_db - self._own_margin_db))
        if found_db >= floor_db:
            return []
        return [f"{what} {missed(found_db, floor_db, 1)} dB, needs {floor_db:g} dB"]

    def _check_rows(self, outputs: Sequence[Outputs]) -> None:
        """Equal rows of a batch must have equal outputs (NVIDIA/TensorRT#4813)."""
        floor_db = self.gate.snr_floor_db(self._precision)
        for point, output in zip(self.reference.points, outputs, strict=True):
            if point != IDENTICAL:
                continue
            for name, axis in self.reference.row_axes.items():
                if axis is None:
                    continue
                found = rows_differ_db(output[name], axis)
                if found < floor_db:
                    raise VerifyError(
                        f"output {name!r}: identical rows of one batch have different "
                        f"outputs: {missed(found, floor_db, 1)} dB, needs "
                        f"{floor_db:g} dB"
                    )


def _lowered(floor_db: float, allowance_db: float) -> float:
    """Return the floor of a part: lower than that of all, but none may be lost."""
    return max(min(floor_db, LOST_DB), floor_db - allowance_db)

"""What to convert, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Literal, get_args

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.tensors import Shape, Tensor

Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8"]
Format = Literal["onnx", "plan", "rtx"]
Method = Literal["minmax", "entropy", "percentile"]
Quantizer = Literal["own", "modelopt"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
FORMATS: tuple[Format, ...] = get_args(Format)
METHODS: tuple[Method, ...] = get_args(Method)
QUANTIZERS: tuple[Quantizer, ...] = get_args(Quantizer)
AUTO = "auto"
QUANTIZED = ("int8", "fp8")

# Signal-to-noise floors in dB where the caller gives none. 6 dB is one bit.
SNR_FLOORS_DB: Mapping[str, float] = {
    "fp32": 90.0,
    "fp16": 60.0,
    "bf16": 35.0,
    "int8": 30.0,
    "fp8": 20.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeRange:
    """The shapes one input may take, batch axis included, size by size.

    TensorRT tunes for `opt` and takes anything from `min` to `max`.
    """

    min: Shape
    opt: Shape
    max: Shape

    def __post_init__(self) -> None:
        if len({len(self.min), len(self.opt), len(self.max)}) != 1:
            raise SpecError(
                f"min {self.min}, opt {self.opt} and max {self.max} differ in rank",
                hint="write the batch axis in all three",
            )
        for axis, sizes in enumerate(zip(self.min, self.opt, self.max, strict=True)):
            if not 1 <= sizes[0] <= sizes[1] <= sizes[2]:
                raise SpecError(
                    f"axis {axis}: need 1 <= min <= opt <= max, got {sizes}",
                    hint="an axis that varies still needs a bound",
                )


Profile = Mapping[str, ShapeRange]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What an artifact's answers must reach; the build fails below.

    Attributes:
        min_snr_db: power of the original's answer over power of the difference, for
            the worst output at the worst shape. None: the precision's own floor
            (`SNR_FLOORS_DB`).
        min_top1_agreement: share of rows, 0..1, whose largest value is at the same
            place; None: reported, not required.
        min_cosine: cosine of the angle between the answers, -1..1; None: as above.
        max_abs_error: largest difference of one value; None: as above.
    """

    min_snr_db: float | None = None
    min_top1_agreement: float | None = None
    min_cosine: float | None = None
    max_abs_error: float | None = None

    def __post_init__(self) -> None:
        if (
            self.min_top1_agreement is not None
            and not 0 <= self.min_top1_agreement <= 1
        ):
            raise SpecError(
                f"min_top1_agreement is a share from 0 to 1, got "
                f"{self.min_top1_agreement}",
                hint="0.99 is 99 %",
            )
        if self.min_cosine is not None and not -1 <= self.min_cosine <= 1:
            raise SpecError(f"min_cosine is from -1 to 1, got {self.min_cosine}")

    def snr_floor_db(self, precision: str) -> float:
        """Return the floor that holds for a precision."""
        return SNR_FLOORS_DB[precision] if self.min_snr_db is None else self.min_snr_db


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The samples that activation ranges are taken from, and how.

    Attributes:
        data: an .npz file, one array per input, all samples along axis 0.
        method: `minmax` takes the largest value seen, `percentile` the value that
            `percentile` per cent of all values stay below, `entropy` the range whose
            histogram loses the least information.
        quantizer: who puts the Q/DQ pairs in: `own`, or `modelopt`, NVIDIA's.
    """

    data: Path
    method: Method = "minmax"
    percentile: float = 99.99
    quantizer: Quantizer = "own"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SpecError(
                f"unknown calibration method {self.method!r}",
                hint=did_you_mean(self.method, METHODS),
            )
        _check_choice("quantizer", self.quantizer, QUANTIZERS)
        if not 50 < self.percentile <= 100:
            raise SpecError(f"percentile is in (50, 100], got {self.percentile}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertSpec:
    """One model, and where its artifact goes.

    Attributes:
        source: an .onnx, .pt2 or .pt file, a SavedModel folder, a torch module as
            `package.module:function`, or a finished plan or engine.
        output: the artifact's path; its folder is made at the end.
        profiles: the shapes of inputs that vary, one mapping per optimisation profile.
            An input left out is checked with `DEFAULT_AXIS` for every axis that varies.
        format: `onnx`, `plan` (TensorRT) or `rtx` (TensorRT for RTX).
        precision: of `PRECISIONS`, or `auto`: the cheapest that passes the gate.
        rest: with int8 and fp8, the precision of everything that is not quantised.
            None: fp16 for plans and RTX engines, fp32 for ONNX files.
        symmetric: int8 ranges centred on zero, which TensorRT demands. None: for plans
            and RTX engines yes; for ONNX files no, which ONNX Runtime's CPU kernels
            are faster with.
        calibration: needed for int8 and fp8; used by fp16's range scan where given.
        verify_data: an .npz file of samples that original and artifact are compared
            on; random values within `ranges` where None.
        ranges: least and largest random value by input.
        keep_fp32: names of nodes, or operator types, that stay fp32.
        bisect: where the gate fails, find the fewest nodes that have to stay fp32.
        passes: graph passes of the user, as `package.module:function`.
        sparsity: `2:4` prunes the weights that are smallest in each group of four.
        simplify: fold constants and drop what changes nothing.
        opset: the opset the graph is brought to before anything else.
        options: of the TensorRT builder, by name (`builder_options.OPTIONS`).
        release: the Triton release that a plan is for, such as `26.06`.
        dry_run: check all that can be checked without the real builder, write nothing.
        cache: the folder of finished artifacts by content; None: no cache.
        root: the folder that the user's modules are imported from; the current one
            where None.
        seed: of the random inputs that original and artifact are compared on.
        deadline_s: longest that one child process may take.
    """

    source: Path | str
    output: Path
    profiles: tuple[Profile, ...] = ()
    format: Format = "onnx"
    precision: Precision | Literal["auto"] = "fp32"
    rest: Literal["fp32", "fp16", "bf16"] | None = None
    symmetric: bool | None = None
    calibration: Calibration | None = None
    verify_data: Path | None = None
    gate: Gate = field(default_factory=Gate)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    keep_fp32: tuple[str, ...] = ()
    bisect: bool = False
    passes: tuple[str, ...] = ()
    sparsity: Literal["2:4"] | None = None
    simplify: bool = True
    opset: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    release: str | None = None
    dry_run: bool = False
    cache: Path | None = None
    root: Path | None = None
    seed: int = 0
    deadline_s: float = 600.0

    def __post_init__(self) -> None:
        _check_choice("format", self.format, FORMATS)
        _check_choice("precision", self.precision, (*PRECISIONS, AUTO))
        _check_ranges(self.ranges)
        if self.precision in QUANTIZED and self.calibration is None:
            raise SpecError(
                f"{self.source}: {self.precision} needs calibration samples, got none",
                hint="--calibration samples.npz, one array per input",
            )
        if self.sparsity not in (None, "2:4"):
            raise SpecError(
                f"unknown sparsity {self.sparsity!r}", hint="TensorRT knows 2:4"
            )
        if self.options and self.format == "onnx":
            raise SpecError(
                f"options {', '.join(self.options)} are the TensorRT builder's, "
                "format is onnx",
                hint="--format plan or --format rtx",
            )

    @property
    def rest_precision(self) -> str:
        """The precision of what int8 and fp8 leave alone."""
        return self.rest or ("fp32" if self.format == "onnx" else "fp16")

    @property
    def is_symmetric(self) -> bool:
        """Whether int8 ranges are centred on zero."""
        return self.format != "onnx" if self.symmetric is None else self.symmetric


def _check_ranges(ranges: Mapping[str, tuple[float, float]]) -> None:
    for name, (low, high) in ranges.items():
        if not (isfinite(low) and isfinite(high) and low <= high):
            raise SpecError(
                f"range of {name!r}: need two finite numbers, the lower first, got "
                f"{low}, {high}",
                hint=f"--range {name}:0,1",
            )


def _check_choice(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SpecError(f"unknown {what} {value!r}", hint=did_you_mean(value, known))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputAccuracy:
    """How far one output is from the original's, at the worst shape for each figure.

    `snr_db` is inf where nothing differs. `top1_agreement` is None where the last axis
    has no two values to choose from.
    """

    name: str
    snr_db: float
    worst_row_snr_db: float
    max_abs_error: float
    mean_abs_error: float
    cosine: float
    top1_agreement: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """What the gate measured.

    Attributes:
        outputs: by output.
        points: the shapes and samples that were run, in words.
        method: how the artifact was run: `run` as it is, or `rounded` where the
            CPU would not compute in its precision (see `precision.emulate`).
        runtime_level: the highest optimisation level of ONNX Runtime that gives right
            answers: `all`, `extended`, `basic`, `off`; None where no CPU kernel exists.
        notes: what a reader must know of how much this proves.
    """

    outputs: tuple[OutputAccuracy, ...]
    points: tuple[str, ...]
    method: str
    runtime_level: str | None
    notes: tuple[str, ...] = ()

    @property
    def min_snr_db(self) -> float:
        """The worst output's signal-to-noise ratio; inf where none differs."""
        return min((o.snr_db for o in self.outputs), default=float("inf"))

    @property
    def max_abs_error(self) -> float:
        """The worst output's largest error."""
        return max((o.max_abs_error for o in self.outputs), default=0.0)

    @property
    def top1_agreement(self) -> float | None:
        """The worst output's top-1 agreement; None where no output has one."""
        known = [o.top1_agreement for o in self.outputs if o.top1_agreement is not None]
        return min(known, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSize:
    """What a graph takes: bytes on disk, nodes, and nodes by operator."""

    bytes: int
    nodes: int
    ops: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertResult:
    """The artifact and what was done for it.

    `kept_fp32` are the nodes that stayed fp32 although a lower precision was asked,
    with the reason. `precision` is None where an engine was taken in that does not say.
    `notes` are sentences for the reader: a pass that was taken back,
    and why. `manifest` is the artifact's JSON, as written beside it.
    """

    artifact: Path
    format: Format
    precision: Precision | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    before: GraphSize
    after: GraphSize
    accuracy: Accuracy
    kept_fp32: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    from_cache: bool = False
    seconds: float = 0.0
    manifest: Mapping[str, Any] = field(default_factory=dict)  # JSON

    @property
    def nodes_before(self) -> int:
        """Nodes of the source's graph."""
        return self.before.nodes

    @property
    def nodes_after(self) -> int:
        """Nodes of the artifact's graph."""
        return self.after.nodes

    @property
    def max_abs_error(self) -> float:
        """The largest difference from the original's answers."""
        return self.accuracy.max_abs_error

    def __repr__(self) -> str:
        size = f"{self.before.bytes:,} -> {self.after.bytes:,} bytes"
        snr = f"{self.accuracy.min_snr_db:.1f} dB"
        return f"ConvertResult({str(self.artifact)!r}, {self.precision}, {snr}, {size})"

"""The settings of a conversion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Literal, get_args

from triton_kit.errors import SpecError
from triton_kit.options.forms import PAIRS, PATHS, RANGES, SHAPES
from triton_kit.options.setting import check_settings, setting
from triton_kit.options.shapes import Profile

Precision = Literal["fp32", "fp16", "bf16", "int8", "int8-dynamic", "fp8"]
Format = Literal["onnx", "plan", "rtx"]
Method = Literal["minmax", "entropy", "percentile"]
Quantizer = Literal["own", "modelopt"]
Task = Literal["classification", "ctc", "detection", "embedding", "segmentation"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
AUTO = "auto"
QUANTIZED = ("int8", "int8-dynamic", "fp8")
CALIBRATED = ("int8", "fp8")
Ranges = Mapping[str, tuple[float, float]]

# What is known of an output: its values, that best classes stay, that a task agrees.
Use = Literal["values", "classes", "task"]
# Signal-to-noise floors in dB for precisions whose user gives none. 6 dB is one bit.
_INT8_FLOORS: Mapping[Use, float] = {"values": 30.0, "classes": 20.0, "task": 10.0}
SNR_FLOORS_DB: Mapping[str, Mapping[Use, float]] = {
    "fp32": dict.fromkeys(get_args(Use), 90.0),
    "fp16": {"values": 40.0, "classes": 30.0, "task": 20.0},
    **dict.fromkeys(("bf16", "int8", "int8-dynamic"), _INT8_FLOORS),
    "fp8": {"values": 20.0, "classes": 15.0, "task": 10.0},
}

_OUTPUT, _INT8 = "Artifact", "Calibration (int8, fp8)"
_GATE, _GRAPH, _RUN = "Accuracy gate", "Graph", "Run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The samples that activation ranges are taken from, and how.

    Attributes:
        data: an .npz file, one array per input, all samples along axis 0.
        method: `minmax` takes the largest value seen, `percentile` the value that
            `percentile` per cent of all values stay below, `entropy` the range whose
            histogram loses the least information.
    """

    data: Path = setting(
        flag="--calibration",
        key="calibration.data",
        group=_INT8,
        metavar="NPZ",
        help="File of calibration samples, one array per input.",
    )
    method: Method = setting(
        "minmax",
        flag="--calibration-method",
        key="calibration.method",
        group=_INT8,
        help="How activation ranges are taken from the samples.",
    )
    percentile: float = setting(
        99.99,
        flag="--percentile",
        key="calibration.percentile",
        group=_INT8,
        metavar="PERCENT",
        bounds=(50, 100),
        above=True,
        help="Share of values inside the range, for the method `percentile`.",
    )
    quantizer: Quantizer = setting(
        "own",
        flag="--quantizer",
        key="calibration.quantizer",
        group=_INT8,
        help="The kit's own quantizer, or NVIDIA's ModelOpt (triton_kit[quantize], or "
        "TRITON_KIT_MODELOPT_PYTHON).",
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What an artifact's outputs must reach; the conversion fails below.

    A figure that is None is reported and not required; `min_snr_db` then is the
    precision's own floor (`SNR_FLOORS_DB`).
    """

    min_snr_db: float | None = setting(
        None,
        flag="--min-snr-db",
        key="verify.min_snr_db",
        group=_GATE,
        metavar="DB",
        help="Minimum signal-to-noise ratio in dB, instead of the precision's own.",
    )
    min_top1_agreement: float | None = setting(
        None,
        flag="--min-top1-agreement",
        key="verify.min_top1_agreement",
        group=_GATE,
        metavar="SHARE",
        bounds=(0, 1),
        hint="0.99 is 99 %",
        help="Minimum share of rows with the same largest score.",
    )
    min_cosine: float | None = setting(
        None,
        flag="--min-cosine",
        key="verify.min_cosine",
        group=_GATE,
        metavar="COSINE",
        bounds=(-1, 1),
        help="Minimum cosine of the angle between the outputs.",
    )
    max_abs_error: float | None = setting(
        None,
        flag="--max-abs-error",
        key="verify.max_abs_error",
        group=_GATE,
        metavar="ERROR",
        bounds=(0, None),
        above=True,
        help="Maximum absolute difference of one value.",
    )
    task: Task | None = setting(
        None,
        flag="--task",
        key="verify.task",
        group=_GATE,
        help="What the outputs are for: their agreement on the task is required too.",
    )
    function: str | None = setting(
        None,
        flag="--verify-function",
        key="verify.function",
        group=_GATE,
        metavar="MODULE:FUNCTION",
        help="Your comparison: takes the original's and the artifact's outputs, each a "
        "dict of arrays, and returns their agreement from 0 to 1.",
    )
    min_agreement: float = setting(
        0.95,
        flag="--min-agreement",
        key="verify.min_agreement",
        group=_GATE,
        metavar="SHARE",
        bounds=(0, 1),
        help="Minimum agreement on the task, or by your function.",
    )

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def has_agreement(self) -> bool:
        """Whether agreement on a task, or by the user's function, is required."""
        return bool(self.task or self.function)

    def snr_floor_db(self, precision: str, use: Use = "values") -> float:
        """Return the floor of a precision, for outputs of which the use is known."""
        if self.min_snr_db is None:
            return SNR_FLOORS_DB[precision][use]
        return self.min_snr_db


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionSettings:
    """All that can be set of a conversion, but for what is read and written."""

    format: Format = setting(
        "onnx",
        flag="--artifact",
        aliases=("--format",),
        place="`targets.NAME.format`",
        group=_OUTPUT,
        help="Kind of artifact: ONNX, TensorRT plan, or engine of TensorRT for RTX.",
    )
    precision: Literal[
        "fp32", "fp16", "bf16", "int8", "int8-dynamic", "fp8", "auto"
    ] = setting(
        "fp32",
        flag="--precision",
        key="precision",
        group=_OUTPUT,
        help="Precision of the artifact; auto: the cheapest that passes the gate.",
    )
    rest: Literal["fp32", "fp16", "bf16"] | None = setting(
        None,
        flag="--rest",
        key="rest",
        group=_OUTPUT,
        help="Precision of the layers that are not quantized; fp16 for plans, fp32 for "
        "ONNX by default.",
    )
    symmetric: bool | None = setting(
        None,
        flag="--symmetric/--asymmetric",
        key="symmetric",
        group=_INT8,
        help="int8 ranges centred on zero, as TensorRT requires, or free, which is "
        "faster on CPUs.",
    )
    keep_fp32: tuple[str, ...] = setting(
        (),
        flag="--keep-fp32",
        key="keep_fp32",
        group=_OUTPUT,
        metavar="NODE",
        help="Node, or operator type, that stays fp32. Repeatable.",
    )
    bisect: bool | None = setting(
        None,
        flag="--bisect/--no-bisect",
        key="bisect",
        group=_OUTPUT,
        help="Find a smallest set of nodes to keep in fp32 where the gate fails; on by "
        "default for int8.",
    )
    sparsity: Literal["2:4"] | None = setting(
        None,
        flag="--sparsity",
        key="sparsity",
        group=_OUTPUT,
        help="Prune the two smallest of every four weights.",
    )
    profiles: tuple[Profile, ...] = setting(
        (),
        flag="--shape",
        aliases=("--shapes", "--profiles"),
        place="`inputs`, `profiles`",
        group=_GRAPH,
        metavar="NAME:MIN,OPT,MAX",
        form=SHAPES,
        help="Shapes of an input, such as x:1x3x224x224,8x3x224x224,32x3x224x224. "
        "Repeatable; an input that comes again begins the next profile.",
    )
    max_batch_size: int | None = setting(
        None,
        flag="--max-batch-size",
        place="`batching.max_batch_size`, for plans",
        group=_GRAPH,
        metavar="SIZE",
        bounds=(1, None),
        help="Maximum size of the first axis of inputs without --shape.",
    )
    passes: tuple[str, ...] = setting(
        (),
        flag="--pass",
        key="passes",
        group=_GRAPH,
        metavar="MODULE:FUNCTION",
        help="Graph pass: takes and returns an onnx.ModelProto. Repeatable.",
    )
    simplify: bool = setting(
        True,
        flag="--simplify/--no-simplify",
        key="simplify",
        group=_GRAPH,
        help="Fold constants and remove nodes without effect.",
    )
    opset: int | None = setting(
        None,
        flag="--opset",
        key="opset",
        group=_GRAPH,
        metavar="VERSION",
        bounds=(1, None),
        help="Opset version that the graph is converted to first.",
    )
    free_batch: bool = setting(
        False,
        flag="--free-batch",
        key="free_batch",
        group=_GRAPH,
        help="Free a batch axis that the ONNX source fixes, verified row by row.",
    )
    custom_ops: tuple[Path, ...] = setting(
        (),
        flag="--custom-ops",
        key="custom_ops",
        group=_GRAPH,
        metavar="LIBRARY",
        form=PATHS,
        yaml_type=tuple[str, ...],
        help="Library of custom operators (.so) that ONNX Runtime loads. Repeatable.",
    )
    calibration: Calibration | None = None
    verify_data: Path | None = setting(
        None,
        flag="--verify-data",
        key="verify.data",
        group=_GATE,
        metavar="NPZ",
        help="File of samples that original and artifact are compared on.",
    )
    gate: Gate = field(default_factory=Gate)
    ranges: Ranges = setting(
        {},
        flag="--range",
        key="ranges",
        group=_GATE,
        metavar="NAME:LOW,HIGH",
        form=RANGES,
        help="Bounds of an input's random values; LOW = HIGH pins it. Repeatable.",
    )
    seed: int = setting(
        0,
        flag="--seed",
        group=_GATE,
        metavar="N",
        bounds=(0, None),
        help="Seed of random inputs.",
    )
    options: Mapping[str, str] = setting(
        {},
        flag="--option",
        key="builder",
        group=_OUTPUT,
        metavar="KEY=VALUE",
        form=PAIRS,
        yaml_type=dict[str, str | int | bool],
        help="TensorRT builder option, such as workspace=2G. Repeatable.",
    )
    release: str | None = setting(
        None,
        flag="--release",
        place="`targets.NAME.triton`",
        group=_OUTPUT,
        metavar="YY.MM",
        help="Triton release that the artifact is for, such as 26.06.",
    )
    device: Literal["cpu", "gpu"] = setting(
        "cpu",
        flag="--device",
        place="`instances`",
        group=_OUTPUT,
        help="Where ONNX Runtime runs the artifact. On a GPU auto does not try int8.",
    )
    dry_run: bool = setting(
        False,
        flag="--dry-run",
        group=_RUN,
        help="Check all that needs no GPU and write nothing.",
    )
    cache: Path | None = setting(
        None,
        flag="--cache",
        place="`build --cache`",
        group=_RUN,
        metavar="FOLDER",
        help="Folder of finished artifacts, found by their content.",
    )
    timeout_s: float = setting(
        600.0,
        flag="--timeout",
        aliases=("--deadline",),
        group=_RUN,
        metavar="SECONDS",
        bounds=(0, None),
        above=True,
        help="Maximum seconds for one child process.",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        _check_ranges(self.ranges)


def _check_ranges(ranges: Mapping[str, Any]) -> None:
    for name, (low, high) in ranges.items():
        if not (isfinite(low) and isfinite(high) and low <= high):
            raise SpecError(
                f"range of {name!r}: need two finite numbers, the lower first, got "
                f"{low}, {high}",
                hint=f"--range {name}:0,1",
            )

"""What to convert, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triton_kit.errors import SpecError
from triton_kit.model_hub import is_hub_source, model_of_hub
from triton_kit.options.conversion import (
    CALIBRATED,
    ConversionSettings,
    Format,
    Precision,
)
from triton_kit.options.setting import nested
from triton_kit.tensors import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertSpec(ConversionSettings):
    """One model, where its artifact goes, and every setting of the conversion.

    Attributes:
        source: an .onnx, .pt2 or .pt file, a SavedModel folder, a torch module or an
            estimator as `package.module:function`, or a prebuilt plan or engine.
        output: path of the artifact; its folder is made at the end.
        root: folder that the user's modules are imported from; the current one
            where None.
    """

    source: Path | str
    output: Path
    root: Path | None = None

    def __post_init__(self) -> None:
        ConversionSettings.__post_init__(self)
        if self.precision == "int8-dynamic" and self.format != "onnx":
            raise SpecError(
                f"{self.source}: int8-dynamic computes ranges while it runs, which "
                "TensorRT does not",
                hint="--precision int8, with calibration samples",
            )
        if self.precision in CALIBRATED and self.calibration is None:
            raise SpecError(
                f"{self.source}: {self.precision} needs calibration samples, got none",
                hint="--calibration samples.npz, one array per input",
            )
        if self.options and self.format == "onnx":
            raise SpecError(
                f"options {', '.join(self.options)} are the TensorRT builder's, the "
                "artifact is onnx",
                hint="--artifact plan or --artifact rtx",
            )

    @property
    def rest_precision(self) -> str:
        """The precision of layers that int8 and fp8 do not quantize."""
        return self.rest or ("fp32" if self.format == "onnx" else "fp16")

    @property
    def is_symmetric(self) -> bool:
        """Whether int8 ranges are centred on zero."""
        return self.format != "onnx" if self.symmetric is None else self.symmetric


ARTIFACT_NAMES = {"onnx": "model.onnx", "plan": "model.plan", "rtx": "model.engine"}


def spec_in_folder(source: str, folder: Path, values: Mapping[str, Any]) -> ConvertSpec:
    """Make the spec of an artifact in a folder from settings by dotted name.

    Raises:
        SpecError: a value that a setting cannot have, or `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise SpecError(f"{folder}: is a file, expected a folder to write")
    return ConvertSpec(
        source=source_of(source),
        output=folder / ARTIFACT_NAMES[values["format"]],
        **nested(ConvertSpec, values),
    )


def source_of(given: str | os.PathLike[str]) -> Path | str:
    """Return the path of a model, or `package.module:function` as it is.

    The model of a hub is fetched.
    """
    text = os.fspath(given)
    if not isinstance(given, str) or Path(text).exists() or ":" not in text:
        return Path(text)
    return model_of_hub(text) if is_hub_source(text) else text


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputAccuracy:
    """How far one output is from the original's, at the worst shape for each figure.

    `snr_db` is inf where nothing differs. `top1_agreement` is None where the last axis
    is no choice between classes. A slice is one index of a small axis that is not the
    batch: its SNR counts the variation around its own mean.
    """

    name: str
    snr_db: float
    worst_row_snr_db: float
    max_abs_error: float
    mean_abs_error: float
    cosine: float
    top1_agreement: float | None
    worst_slice_snr_db: float = float("inf")
    worst_slice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """What the gate measured.

    Attributes:
        outputs: by output.
        points: the shapes and samples that were run, in words.
        method: how the artifact was run: `run` as it is, or `rounded` where the
            CPU would not compute in its precision (see `precision.emulate`).
        runtime_level: the highest optimisation level of ONNX Runtime that gives right
            outputs: `all`, `extended`, `basic`, `off`; None where no CPU kernel exists.
        agreements: by task, or the user's function: shares from 0 to 1.
        data: what the verdict is based on, in words.
        notes: what a reader must know of how much this proves.
    """

    outputs: tuple[OutputAccuracy, ...]
    points: tuple[str, ...]
    method: str
    runtime_level: str | None
    notes: tuple[str, ...] = ()
    agreements: Mapping[str, float] = field(default_factory=dict)
    data: str = ""

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
class TriedPrecision:
    """A precision that `auto` tried.

    Attributes:
        bytes: of its ONNX file; None where there is none.
        seconds: median time of one inference, the mean over the opt shapes of all
            profiles, interleaved with the others on this machine; None where it cannot
            run here.
        spread_s: first and third quartile of that.
        snr_db: of its worst output.
        why_not: why it was not chosen; None of the one that was.
    """

    precision: Precision
    bytes: int | None = None
    seconds: float | None = None
    spread_s: tuple[float, float] | None = None
    snr_db: float | None = None
    why_not: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertResult:
    """The artifact and what was done for it.

    `kept_fp32` are the nodes that stayed fp32 although a lower precision was asked,
    with the reason. `precision` is None of an imported engine that does not say.
    `notes` are sentences for the reader: a pass that was undone,
    and why. `tried` is what `auto` chose from. `manifest` is the artifact's JSON, as
    written beside it.
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
    tried: tuple[TriedPrecision, ...] = ()
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
        """The largest difference from the original's outputs."""
        return self.accuracy.max_abs_error

    def __repr__(self) -> str:
        size = f"{self.before.bytes:,} -> {self.after.bytes:,} bytes"
        snr = f"{self.accuracy.min_snr_db:.1f} dB"
        return f"ConvertResult({str(self.artifact)!r}, {self.precision}, {snr}, {size})"

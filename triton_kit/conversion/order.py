"""The words of a command line become a ConvertSpec."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from triton_kit.conversion.inspection.profile import ProfileSpec
from triton_kit.conversion.shapes import parse_shapes
from triton_kit.conversion.spec import Calibration, ConvertSpec, Gate, Method, Quantizer
from triton_kit.errors import SpecError

ARTIFACT_NAMES = {"onnx": "model.onnx", "plan": "model.plan", "rtx": "model.engine"}


def spec_from_options(
    folder: Path,
    *,
    source: str,
    shapes: Iterable[str],
    calibration: Path | None,
    calibration_method: Method,
    percentile: float,
    quantizer: Quantizer,
    ranges: Iterable[str],
    options: Iterable[str],
    min_snr_db: float | None,
    min_top1_agreement: float | None,
    min_cosine: float | None,
    max_abs_error: float | None,
    keep_fp32: Iterable[str],
    passes: Iterable[str],
    **same: Any,  # noqa: ANN401  fields of ConvertSpec, as they are
) -> ConvertSpec:
    """Make the spec that `triton-kit convert`'s options ask for.

    Raises:
        SpecError: an option's text cannot be read, or `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise SpecError(f"{folder}: is a file, expected a folder to write")
    return ConvertSpec(
        source=Path(source) if Path(source).exists() or ":" not in source else source,
        output=folder / ARTIFACT_NAMES[same["format"]],
        profiles=parse_shapes(shapes),
        calibration=Calibration(
            data=calibration,
            method=calibration_method,
            percentile=percentile,
            quantizer=quantizer,
        )
        if calibration
        else None,
        gate=Gate(
            min_snr_db=min_snr_db,
            min_top1_agreement=min_top1_agreement,
            min_cosine=min_cosine,
            max_abs_error=max_abs_error,
        ),
        ranges=dict(_range(text) for text in ranges),
        keep_fp32=tuple(keep_fp32),
        passes=tuple(passes),
        options=dict(_key_value(text) for text in options),
        **same,
    )


def profile_spec(
    shapes: Iterable[str], *, batch: int | None, runs: int, warm_up: int
) -> ProfileSpec:
    """Make the spec that `triton-kit inspect --profile`'s options ask for.

    Raises:
        SpecError: an option's text cannot be read, or a number is out of range.
    """
    profiles = parse_shapes(shapes)
    if len(profiles) > 1:
        raise SpecError("an input has more than one shape, a profile runs one")
    chosen = profiles[0] if profiles else {}
    return ProfileSpec(shapes=chosen, batch=batch, runs=runs, warm_up=warm_up)


def _range(text: str) -> tuple[str, tuple[float, float]]:
    name, colon, rest = text.rpartition(":")
    try:
        low, high = (float(part) for part in rest.split(","))
    except ValueError as error:
        raise SpecError(f"range {text!r} is not NAME:LOW,HIGH") from error
    if not colon or not name or not low < high:
        raise SpecError(f"range {text!r} is not NAME:LOW,HIGH")
    return name, (low, high)


def _key_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise SpecError(f"option {text!r} is not KEY=VALUE", hint="workspace=2G")
    return name, value

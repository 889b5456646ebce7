"""How a model becomes an artifact: precision, samples, profiles, builder options."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, FiniteFloat

from triton_kit.project.serving import Positive, Spec


def _as_mapping(value: Any) -> Any:  # noqa: ANN401  what YAML holds
    return {"data": value} if isinstance(value, str) else value


class CalibrationSpec(Spec):
    """The samples that int8 and fp8 take their ranges from; short: just the file."""

    data: str
    method: Literal["minmax", "entropy", "percentile"] = "minmax"
    percentile: Annotated[FiniteFloat, Field(gt=50, le=100)] = 99.99
    quantizer: Literal["own", "modelopt"] = "own"


class VerifySpec(Spec):
    """What the artifact's answers must reach; short: just the file of samples."""

    data: str | None = None
    min_snr_db: FiniteFloat | None = None
    min_top1_agreement: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None
    min_cosine: Annotated[FiniteFloat, Field(ge=-1, le=1)] | None = None
    max_abs_error: Annotated[FiniteFloat, Field(gt=0)] | None = None


class ProfileSpec(Spec):
    """The shapes of one input in one more optimisation profile, batch axis included."""

    min: tuple[Positive, ...]
    opt: tuple[Positive, ...]
    max: tuple[Positive, ...]


class ConversionSpec(Spec):
    """The part of a model that the converter reads."""

    precision: Literal["fp32", "fp16", "bf16", "int8", "fp8", "auto"] = "fp32"
    rest: Literal["fp32", "fp16", "bf16"] | None = None
    symmetric: bool | None = None
    calibration: Annotated[CalibrationSpec | None, BeforeValidator(_as_mapping)] = None
    verify: Annotated[VerifySpec | None, BeforeValidator(_as_mapping)] = None
    keep_fp32: tuple[str, ...] = ()
    bisect: bool = False
    passes: tuple[str, ...] = ()
    simplify: bool = True
    sparsity: Literal["2:4"] | None = None
    opset: Positive | None = None
    ranges: dict[str, tuple[FiniteFloat, FiniteFloat]] = {}
    profiles: tuple[dict[str, ProfileSpec], ...] = ()  # besides the one of `inputs`
    builder: dict[str, str | int | bool] = {}  # options of the TensorRT builder

"""Named loads of a project: what `triton-kit perf --load NAME` sends and expects."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from triton_kit.project.serving import Positive, Spec

# START:END:STEP, as the options of perf have it.
_Range = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)?(:\d+(\.\d+)?){0,2}$")]
_PositiveNumber = Annotated[float, Field(gt=0)]
_Sizes = Annotated[str, StringConstraints(pattern=r"^\d+([,:]x?\d+)*$")]
_Sizing = tuple[Annotated[int, Field(ge=0)], ...]
_Words = Annotated[tuple[str, ...], Field(min_length=1)]


class LoadSpec(Spec):
    """One load test: a model, a load, and what must hold under it.

    Each field is an option of `triton-kit perf`, in whose help it is explained;
    `options` has any other one by its long name. Files are named from the folder of
    triton-kit.yaml.
    """

    model: str
    url: str | None = None
    protocol: Literal["http", "grpc"] | None = None
    endpoint: (
        Literal["infer", "generate", "generate_stream", "chat", "completions"] | None
    ) = None
    concurrency: Positive | _Range | None = None
    rate: _PositiveNumber | _Range | None = None
    distribution: Literal["constant", "poisson"] | None = None
    batch_size: Positive | _Sizes | None = None
    shapes: dict[str, _Sizing] = {}
    input_data: str | _Words | None = None
    duration_s: _PositiveNumber | None = None
    request_count: Positive | None = None
    warm_up_s: Annotated[float, Field(ge=0)] | None = None
    time_limit_s: _PositiveNumber | None = None
    slo: str | _Words | None = None
    binary_search: bool = False
    options: dict[str, Any] = {}  # of perf, by long name: scalars, or lists of them

    @model_validator(mode="after")
    def _is_one_load(self) -> Self:
        if self.concurrency is not None and self.rate is not None:
            raise ValueError("concurrency and rate: a load is one of them")
        if self.distribution is not None and self.rate is None:
            raise ValueError("distribution is of the requests of a rate")
        if self.binary_search and self.slo is None:
            raise ValueError("binary_search needs objectives to search for: slo")
        for name, value in self.options.items():
            values = value if isinstance(value, list) else [value]
            if not all(isinstance(v, str | int | float) for v in values):
                raise ValueError(f"options.{name}: need a scalar, or a list of them")
        return self

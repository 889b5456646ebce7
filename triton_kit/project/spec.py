"""The contents of `triton-kit.yaml`, as types."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from triton_kit.errors import SpecError
from triton_kit.gpu import COMPUTE_CAPABILITY
from triton_kit.model_hub import is_hub_source, model_of_hub
from triton_kit.project.conversion import ConversionSpec
from triton_kit.project.document import Document, Key
from triton_kit.project.loads import LoadSpec
from triton_kit.project.serving import ServingSpec, Spec
from triton_kit.triton.releases import find_release

# A model's name is a folder's name and part of URLs: no separators, no leading dot.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Axes = tuple[Annotated[int, Field(ge=-1)], ...]

EMBEDDED = "embedded"
# How keys of the file begin that only hold anchors for others, as those of Compose do.
OWN_KEYS = "x-"
# Three ways to say what a Python model imports: a target's replaces an inherited one.
ENVIRONMENT_KEYS = ("environment", "requirements", "python")


class TensorSpec(Spec):
    """One input or output.

    `min`, `opt`, `max` bound the shapes of an input, batch axis included. `dtype` and
    `shape` (batch axis not included) declare the tensor where the model's file does
    not: in a Python model. `optional` inputs may be left out of a request. `labels` is
    a file with one label a line, for an output of scores.
    """

    dtype: str | None = None
    shape: Axes | None = None
    min: Axes | None = None
    opt: Axes | None = None
    max: Axes | None = None
    optional: bool = False
    labels: str | None = None

    @model_validator(mode="after")
    def _bounds_agree(self) -> Self:
        bounds = (self.min, self.opt, self.max)
        given = [bound for bound in bounds if bound is not None]
        if given and len(given) < 3:
            raise ValueError("min, opt and max are needed together")
        if given and len({len(bound) for bound in given}) != 1:
            raise ValueError(f"min, opt and max differ in rank: {given}")
        for axis, sizes in enumerate(zip(*given, strict=True)):
            if not 1 <= sizes[0] <= sizes[1] <= sizes[2]:
                raise ValueError(
                    f"axis {axis}: need 1 <= min <= opt <= max, got {sizes}"
                )
        if (self.dtype is None) != (self.shape is None):
            raise ValueError("dtype and shape are needed together")
        return self


class ModelSpec(ServingSpec, ConversionSpec):
    """One model: where it comes from and how Triton serves it."""

    source: str
    backend: str | None = None  # its files are published as they are
    files: tuple[str, ...] = ()  # files, folders or globs that go along
    environment: str | None = None  # a packed Python environment
    requirements: str | None = None  # what a Python model imports, as pip reads it
    python: str | None = None  # an interpreter of this machine that runs it
    calls: tuple[Name, ...] = ()  # the models that a Python model asks
    inputs: dict[str, TensorSpec] = {}
    outputs: dict[str, TensorSpec] = {}
    config: dict[str, Any] = {}  # any ModelConfig field, by its proto name

    @model_validator(mode="after")
    def _tensors_are_what_they_can_be(self) -> Self:
        for name, tensor in self.inputs.items():
            if tensor.labels:
                raise ValueError(f"inputs.{name}: labels are for outputs")
        for name, tensor in self.outputs.items():
            if tensor.optional:
                raise ValueError(f"outputs.{name}: only inputs are optional")
        sets = {
            "environment": self.environment,
            "python": self.python,
            "parameters": self.parameters.get("EXECUTION_ENV_PATH"),
        }
        given = [name for name, value in sets.items() if value]
        if len(given) > 1:
            raise ValueError(
                f"{given[0]} and {given[1]} both set EXECUTION_ENV_PATH: give one"
            )
        own = (self.environment and "environment") or (self.python and "python")
        if own and self.requirements:
            raise ValueError(
                f"{own} has packages of its own: give it or requirements, not both"
            )
        return self


class StepSpec(Spec):
    """One model of a pipeline; maps the model's tensor names to the pipeline's."""

    model: Name
    version: Annotated[int, Field(ge=1)] | None = None  # None: the newest
    inputs: Annotated[dict[str, str], Field(min_length=1)]
    outputs: Annotated[dict[str, str], Field(min_length=1)]


class PipelineSpec(Spec):
    """Models wired by tensor names; served by Triton as one ensemble."""

    steps: Annotated[tuple[StepSpec, ...], Field(min_length=1)]
    outputs: Annotated[tuple[str, ...], Field(min_length=1)]
    response_cache: bool = False
    max_inflight_requests: Annotated[int, Field(ge=1)] | None = None
    config: dict[str, Any] = {}  # any other ModelConfig field, by its proto name


class TestSpec(Spec):
    """Sample inputs of a model or pipeline, and what it shall respond.

    Both are arrays by tensor, or an .npz file that has them. The batch axis may be left
    out of a single sample.
    """

    model: Name
    inputs: str | Annotated[dict[str, Any], Field(min_length=1)]
    outputs: str | Annotated[dict[str, Any], Field(min_length=1)]
    tolerance: Annotated[float, Field(ge=0)] = 1e-3  # absolute and relative

    @field_validator("inputs", "outputs", mode="before")
    @classmethod
    def _are_arrays_or_a_file(cls, value: object) -> object:
        if not value or not isinstance(value, str | dict):
            raise ValueError(
                "expected arrays by tensor, such as {x: [1, 2]}, or the path of an "
                f".npz file, got {value!r}"
            )
        return value


class TargetSpec(Spec):
    """Where the repository will run."""

    triton: str = EMBEDDED
    format: Literal["onnx", "plan"] = "onnx"
    # Of its GPU, as `triton-kit doctor` shows it; a plan for another one is refused.
    compute_capability: Annotated[
        str | None, StringConstraints(pattern=COMPUTE_CAPABILITY)
    ] = None
    models: dict[str, dict[str, Any]] = {}  # merged over `models`, field by field

    @field_validator("triton")
    @classmethod
    def _release_is_known(cls, name: str) -> str:
        if name != EMBEDDED:
            try:
                find_release(name)
            except SpecError as error:
                raise ValueError(f"{error.message} ({error.hint})") from error
        return name


class ProjectSpec(Spec):
    """The whole file."""

    name: Name
    targets: dict[Name, TargetSpec] = {"local": TargetSpec()}
    models: Annotated[dict[Name, ModelSpec], Field(min_length=1)]
    pipelines: dict[Name, PipelineSpec] = {}
    tests: dict[str, TestSpec] = {}
    loads: dict[Name, LoadSpec] = {}

    @model_validator(mode="after")
    def _tests_loads_and_calls_name_models(self) -> Self:
        known = {*self.models, *self.pipelines}
        named = [
            *(
                (("tests", name, "model"), f"test {name!r} is for", test.model)
                for name, test in self.tests.items()
            ),
            *(
                (("loads", name, "model"), f"load {name!r} is for", load.model)
                for name, load in self.loads.items()
            ),
            *(
                (("models", name, "calls", at), f"model {name!r} calls", called)
                for name, model in self.models.items()
                for at, called in enumerate(model.calls)
            ),
        ]
        for at, text, model in named:
            if model not in known:
                there = ", ".join(sorted(known))
                text += f" {model!r}, which is not there: {there}"
                raise PydanticCustomError(
                    "value_error", "{text}", {"at": at, "text": text}
                )
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        if both := sorted(self.models.keys() & self.pipelines.keys()):
            raise ValueError(f"{both[0]!r} is both a model and a pipeline")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project as one target sees it, and the folder it lives in."""

    root: Path
    target: str
    spec: ProjectSpec
    document: Document | None = None

    def place(self, *keys: Key) -> str:
        """Return `file:line` of a value in triton-kit.yaml; of what holds it, at least.

        A field that the target sets takes precedence.
        """
        if self.document is None:
            return ""
        override = ("targets", self.target, *keys)
        if keys[:1] == ("models",) and override[:5] in self.document.lines:
            keys = override
        return self.document.place(keys)

    def hiding_variables(self) -> AbstractContextManager[None]:
        """Put `${NAME}` for its value into errors, also into those after loading."""
        return self.document.hiding_variables() if self.document else nullcontext()

    def without_values(self, text: str) -> str:
        """Return a text with `${NAME}` for its value."""
        return self.document.without_values(text) if self.document else text

    def path(self, relative: str) -> Path:
        """Return a file of the project by its path in triton-kit.yaml."""
        return self.root / relative

    def source(self, spec: ModelSpec) -> Path:
        """Return where the source of a model is, or would be.

        `PACKAGE:FILE` is a file that an installed Python package ships; `hf:` and
        `mlflow:` name a model of a hub, which is fetched.
        """
        path = self.path(spec.source)
        if is_hub_source(spec.source) and not path.exists():
            return model_of_hub(spec.source)
        package, _, file = spec.source.partition(":")
        if path.exists() or not is_package_file(spec.source):
            return path
        found = find_spec(package)
        folders = (found and found.submodule_search_locations) or ()
        return next(
            (Path(f) / file for f in folders if (Path(f) / file).exists()), path
        )


def is_function(source: str) -> bool:
    """Whether a source is `package.module:function`."""
    if is_hub_source(source):
        return False
    _, colon, name = source.rpartition(":")
    return bool(colon) and name.isidentifier()


def is_package_file(source: str) -> bool:
    """Whether a source is `PACKAGE:FILE`, a file that a Python package ships."""
    package, colon, _ = source.partition(":")
    return bool(colon) and package.isidentifier() and not is_function(source)

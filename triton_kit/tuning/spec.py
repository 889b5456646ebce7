"""What to tune, and how long: one value that is valid or does not exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args  # Any: JSON

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.loadtest.results.slo import Objective
from triton_kit.options.conversion import Gate
from triton_kit.options.setting import nested
from triton_kit.serving.containers.launcher import ContainerOptions
from triton_kit.tensors import Shape
from triton_kit.tuning.at_once import TrialsAtOnce
from triton_kit.tuning.budget import Budget
from triton_kit.tuning.model_fields import is_conversion
from triton_kit.tuning.objective import TuneObjective, parse_objective
from triton_kit.tuning.search import Method
from triton_kit.tuning.space_text import check_space_texts
from triton_kit.tuning.suggestions import require_optuna

_AT_ONCE = "--parallel, --cores-per-trial, --gpus-per-trial and --executor"


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneSpec:
    """One search.

    Attributes:
        model: a model or a pipeline.
        repository: where its files are; None for a server that has it loaded.
        project: the folder of a triton-kit.yaml that the repository was built from.
        target: of the project; None: the first.
        url: the HTTP address of a server with model control `explicit`; None: the
            server of the kit.
        container: that the kit serves in; None: the embedded server.
        objective: what the best settings are best at.
        slo: what they must keep.
        space: fields as `NAME=VALUES`; empty: the usual ones.
        budget: of all trials together.
        search: `auto`, `grid`, `climb` or `optuna`.
        output: the folder for checkpoint and results.
        resume: go on with the trials in that folder.
        protocol: of the requests, on the embedded server.
        batch_size: inferences per request, unless the space has it.
        shapes: of inputs that vary, without the batch axis.
        input_data: as in PerfSpec.
        composing: models that the model calls by itself (BLS).
        headers: of every request to a server of the user.
        control_headers: of requests to its control API: a key.
        floors: of the accuracy of converted models, by the keys of `verify`.
        at_once: how many trials run at the same time, each on cores, and if asked for
            GPUs, of its own; None: one after the other, on all cores of the machine.
        seed: of the points that are drawn, and of random inputs.
    """

    model: str
    repository: Path | None = None
    project: Path | None = None
    target: str | None = None
    url: str | None = None
    container: ContainerOptions | None = None
    objective: TuneObjective = field(
        default_factory=lambda: parse_objective("throughput")
    )
    slo: tuple[Objective, ...] = ()
    space: tuple[str, ...] = ()
    budget: Budget = field(default_factory=lambda: Budget(seconds=600))
    search: Method = "auto"
    output: Path
    resume: bool = False
    protocol: str = "http"
    batch_size: int = 1
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    input_data: tuple[str, ...] = ("random",)
    composing: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    control_headers: Mapping[str, str] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)
    at_once: TrialsAtOnce | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.search not in get_args(Method):
            hint = did_you_mean(self.search, get_args(Method))
            raise SpecError(f"no search {self.search!r}", hint=hint)
        if self.search == "optuna":
            require_optuna()
        if self.url is None and self.repository is None:
            raise SpecError(
                "the server of the kit needs a repository",
                hint="name a project or a model repository, or -u HOST:PORT",
            )
        if self.url is not None and self.container is not None:
            raise SpecError(
                f"{self.url} runs already, and a container was asked for",
                hint="give --url or --server docker",
            )
        if self.url is not None and self.protocol != "http":
            raise SpecError("a server by its address is measured over HTTP")
        self._check_space()
        self._check_floors()
        self._check_at_once()
        for objective in self.slo:
            if objective.needs_tokens:
                raise SpecError(f"objective {objective.text!r} is for language models")

    def _check_space(self) -> None:
        check_space_texts(self.space)
        if self.needs_conversions and (self.project is None or self.url is not None):
            raise SpecError(
                "precision and builder.OPTION of the space: only a project on a server "
                "of the kit is converted",
                hint="name a folder with a triton-kit.yaml, and leave out --url",
            )

    def _check_at_once(self) -> None:
        if self.at_once is None:
            return
        if self.url is not None or self.container is not None:
            there = self.url or "the container"
            raise SpecError(
                f"trials at once, each on its own server, but {there} is one server",
                hint=f"leave out {_AT_ONCE}, or tune on the embedded server",
            )

    def _check_floors(self) -> None:
        if self.floors and not self.needs_conversions:
            raise SpecError(
                f"{', '.join(self.floors)}: no setting of the space is converted",
                hint="add --space precision=fp32,fp16",
            )
        Gate(**nested(Gate, self.floors))

    @property
    def needs_conversions(self) -> bool:
        """Whether models have to be converted for some of the settings."""
        return bool(self.converted)

    @property
    def converted(self) -> set[str]:
        """The models that have to be converted for some of the settings."""
        names = (text.partition("=")[0].strip() for text in self.space)
        parts = (name.rpartition(":") for name in names)
        return {model or self.model for model, _, key in parts if is_conversion(key)}

    def inputs(self) -> dict[str, Any]:
        """Return what the search depends on, as JSON: the same for `resume`."""
        return {
            "model": self.model,
            "url": self.url,
            "container": None if self.container is None else asdict(self.container),
            "objective": self.objective.text,
            "slo": [objective.text for objective in self.slo],
            "space": list(self.space),
            "budget": {"trials": self.budget.trials, "seconds": self.budget.seconds},
            "search": self.search,
            "protocol": self.protocol,
            "batch size": self.batch_size,
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "input data": list(self.input_data),
            "composing": list(self.composing),
            "floors": dict(self.floors),
            "at once": None if self.at_once is None else asdict(self.at_once),
            "seed": self.seed,
        }

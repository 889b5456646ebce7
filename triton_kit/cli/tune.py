"""`triton-kit tune`: find the settings with which a model serves best."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: what click hands over

import click
import cloup

from triton_kit.cli.at_once_options import AT_ONCE, trials_at_once
from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.container_options import ENGINE, container_options
from triton_kit.cli.options import (
    FILE_TO_READ,
    FOLDER_TO_READ,
    PATH_TO_WRITE,
    json_option,
    seed_option,
    shape_option,
)
from triton_kit.cli.output import echo, echo_json, notice
from triton_kit.errors import SpecError

if TYPE_CHECKING:
    from triton_kit.serving.containers.launcher import ContainerOptions
    from triton_kit.tuning.result import TuneResult
    from triton_kit.tuning.spec import TuneSpec

_PROJECT_FILE, _REPOSITORY = "triton-kit.yaml", "model_repository"
_FLOORS = (
    ("--min-snr-db", "min_snr_db", "DB", "Minimum signal-to-noise ratio in dB."),
    (
        "--min-top1-agreement",
        "min_top1_agreement",
        "SHARE",
        "Minimum share of rows with the same largest score, 0 to 1.",
    ),
    ("--min-cosine", "min_cosine", "COSINE", "Minimum cosine of the outputs' angle."),
    ("--max-abs-error", "max_abs_error", "ERROR", "Maximum difference of one value."),
)


@kit_command(
    epilog="Exit code 1: nothing meets the SLO. The folder of -o gets result.json, "
    "trials.csv, best.yaml and a repository with the best settings.",
    examples=(
        "triton-kit tune digits my-project --slo 'p99<20ms' --budget 5m",
        "triton-kit tune digits my-project --space instances=1,2,4 --apply",
        "triton-kit tune read_digit --space 'decode:instances=1..4' --resume",
        "triton-kit tune digits my-project --parallel 4 --cores-per-trial 2",
        "triton-kit tune digits my-project --server docker --release 26.06",
        "triton-kit tune digits -u gpu7:8000 --objective latency",
    ),
)
@cloup.argument("model", help="A model or a pipeline.")
@cloup.argument(
    "source",
    required=False,
    type=FOLDER_TO_READ,
    help="A project or a model repository. Default: the project in this folder.",
)
@cloup.option_group(
    "Goal",
    kit_option(
        "--objective",
        default="throughput",
        metavar="FIGURE",
        help="throughput, latency (p95), mean, p50 to p99, efficiency (per CPU "
        "second), joules, memory; weights: throughput=0.7,p95=0.3.",
    ),
    kit_option(
        "--slo",
        metavar="FIGURE<BOUND,...",
        help="What the settings must keep: p99<20ms,errors<0.1%.",
    ),
)
@cloup.option_group(
    "Search",
    kit_option(
        "--space",
        multiple=True,
        metavar="[MODEL:]FIELD=VALUES",
        help="Values to try: instances=1,2,4; max_batch_size=8..64; "
        "queue_delay_us=off,0,500; preferred=[],[8,16]; threads; graph_level; "
        "concurrency; batch_size; request_rate; precision=fp32,fp16 and "
        "builder.OPTION (a project's); any ModelConfig field by its path. "
        "Repeatable. Default: the usual ones.",
    ),
    kit_option(
        "--budget",
        default="10m",
        metavar="TIME|trials=N",
        help="Bound on all trials: 10m, 90s, trials=60.",
    ),
    kit_option(
        "--search",
        "method",
        type=click.Choice(["auto", "grid", "climb", "optuna"]),
        default="auto",
        help="grid: every combination; climb: step by step from the default; auto: "
        "all of a small space, else climb from the best of a sample; optuna: "
        "Optuna's sampler (triton_kit[tune]), for large spaces.",
    ),
    seed_option("Seed of the settings that are drawn, and of random inputs."),
    kit_option(
        "--plan",
        "only_plan",
        is_flag=True,
        help="Show what would be tried and how long it takes; send no load.",
    ),
)
@AT_ONCE
@cloup.option_group(
    "Accuracy of converted models",
    *(
        kit_option(
            flag,
            name,
            type=float,
            metavar=metavar,
            help=f"{help_text} Default: the project's.",
        )
        for flag, name, metavar, help_text in _FLOORS
    ),
)
@cloup.option_group(
    "Requests",
    kit_option(
        "-b",
        "--batch-size",
        type=click.IntRange(min=1),
        default=1,
        metavar="N",
        help="Inferences per request.",
    ),
    shape_option("Shape of an input that varies: x:3,224,224.", former=()),
    kit_option(
        "--input-data",
        multiple=True,
        default=("random",),
        metavar="[NAME:]SOURCE",
        help="random, zero, a folder, or an .npz, .npy or JSON file.",
    ),
    kit_option(
        "-i",
        "--protocol",
        type=click.Choice(["http", "grpc"]),
        default="http",
        help="Protocol of the requests to the server of the kit.",
    ),
    kit_option(
        "--bls-composing-models",
        "composing",
        metavar="NAME,...",
        help="Models that the model calls by itself, to tune as well.",
    ),
)
@cloup.option_group(
    "Server",
    kit_option(
        "--server",
        "launcher",
        type=click.Choice(["embedded", "docker"]),
        default="embedded",
        help="embedded: the server of this installation. docker: a container.",
    ),
    kit_option(
        "--release",
        metavar="YY.MM",
        help="Triton release of the container. Default: that of the image.",
    ),
    kit_option(
        "--image",
        default="",
        metavar="NAME",
        show_default=False,
        help="Image of the container. Default: NVIDIA's of the release.",
    ),
    kit_option(
        "--gpus",
        default="",
        metavar="all|ID,...",
        show_default=False,
        help="GPUs of the container. Default: none.",
    ),
    ENGINE,
    kit_option(
        "-u",
        "--url",
        metavar="HOST:PORT",
        help="HTTP address of a server that runs, with --model-control-mode explicit, "
        "to tune instead.",
    ),
    kit_option(
        "-H",
        "--header",
        "headers",
        multiple=True,
        metavar="NAME:VALUE",
        help="HTTP header of every request to that server. Repeatable.",
    ),
    kit_option(
        "--key-file",
        type=FILE_TO_READ,
        metavar="FILE",
        help="File with the key of its control APIs, as 'serve' prints it.",
    ),
)
@cloup.option_group(
    "Result",
    kit_option(
        "-o",
        "--output",
        type=PATH_TO_WRITE,
        metavar="DIR",
        help="Folder for the trials and the result. Default: tune-MODEL.",
    ),
    kit_option(
        "--resume",
        is_flag=True,
        help="Go on with the interrupted search in that folder; repeat no trial.",
    ),
    kit_option(
        "--apply",
        "is_applied",
        is_flag=True,
        help="Write the settings into triton-kit.yaml, or into the repository.",
    ),
    kit_option(
        "-t",
        "--target",
        metavar="NAME",
        help="Target of the project: what precisions are converted for, and what "
        "--apply changes. Default: the first.",
    ),
    json_option(),
)
def command(*, only_plan: bool, is_applied: bool, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Find the settings with which MODEL serves best (guide: docs/tune.md)."""
    from triton_kit.cli.tune_progress import showing_search
    from triton_kit.tuning.tune import apply, plan, tune

    spec = _spec(**given)
    if only_plan:
        from triton_kit.cli.tune_progress import plan_text

        planned = plan(spec)
        if as_json:
            echo_json(planned.as_json())
        else:
            echo(plan_text(planned))
        return
    try:
        with showing_search() as screen:
            result = tune(spec, screen.on_progress, on_phase=screen.on_phase)
    except KeyboardInterrupt:
        notice(f"--resume -o {spec.output} goes on from here")
        raise
    changed = apply(spec, result) if is_applied else []
    _report(result, spec, changed, as_json=as_json)
    sys.exit(1 if result.outcome == "nothing meets the SLO" else 0)


def _report(
    result: TuneResult, spec: TuneSpec, changed: list[Path], *, as_json: bool
) -> None:
    from triton_kit.cli.tune_progress import result_text

    if as_json:
        echo_json(result.as_json())
    else:
        echo(result_text(result))
    for path in changed:
        notice(f"changed {path}")
    notice(f"trials, best.yaml and the result are in {spec.output}")


def _spec(
    *,
    model: str,
    source: Path | None,
    slo: str | None,
    key_file: Path | None,
    output: Path | None,
    **given: Any,  # noqa: ANN401
) -> TuneSpec:
    from triton_kit.loadtest.option_texts import parse_header, parse_shape
    from triton_kit.loadtest.results.slo import parse_slo
    from triton_kit.serving.keys import key_headers, read_key
    from triton_kit.tuning.budget import parse_budget
    from triton_kit.tuning.objective import parse_objective
    from triton_kit.tuning.spec import TuneSpec

    project, repository = _places(source, is_embedded=given["url"] is None)
    composing = given["composing"]
    return TuneSpec(
        model=model,
        repository=repository,
        project=project,
        target=given["target"],
        url=given["url"],
        container=_container(**given),
        objective=parse_objective(given["objective"]),
        slo=parse_slo(slo) if slo else (),
        space=given["space"],
        budget=parse_budget(given["budget"]),
        search=given["method"],
        output=output or Path(f"tune-{model}"),
        resume=given["resume"],
        protocol=given["protocol"],
        batch_size=given["batch_size"],
        shapes=dict(map(parse_shape, given["shapes"])),
        input_data=given["input_data"],
        composing=tuple(composing.split(",")) if composing else (),
        headers=dict(map(parse_header, given["headers"])),
        control_headers=key_headers(read_key(key_file)) if key_file else {},
        floors={
            name: given[name] for _, name, *_ in _FLOORS if given[name] is not None
        },
        at_once=trials_at_once(**given),
        seed=given["seed"],
    )


def _container(
    *,
    launcher: str,
    release: str | None,
    image: str,
    gpus: str,
    engine: str,
    **_: Any,  # noqa: ANN401  the command's other options
) -> ContainerOptions | None:
    if launcher == "docker":
        return container_options(release=release, image=image, gpus=gpus, engine=engine)
    if release or image or gpus:
        raise SpecError(
            "--release, --image and --gpus are of a container",
            hint="add --server docker",
        )
    return None


def _places(
    source: Path | None, *, is_embedded: bool
) -> tuple[Path | None, Path | None]:
    """Return the project and the repository, as far as there are any."""
    folder = source or Path()
    if not (folder / _PROJECT_FILE).is_file():
        if source is None and is_embedded:
            raise SpecError(
                "this folder has no triton-kit.yaml",
                hint="name a project or a model repository, or -u HOST:PORT",
            )
        return None, source
    repository = folder / _REPOSITORY
    if not is_embedded:
        return folder, None
    if not repository.is_dir():
        raise SpecError(
            f"{folder}: the project has no {_REPOSITORY} yet",
            hint=f"triton-kit build {folder}",
        )
    return folder, repository

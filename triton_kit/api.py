"""The public Python API: one function for each job of the kit.

Paths are `str` or `PathLike`. A function returns a result or raises a TritonKitError;
it prints nothing. Each may run in any thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from triton_kit.errors import SpecError

if TYPE_CHECKING:
    from triton_kit.build_project import BuildResult
    from triton_kit.conversion.spec import ConvertResult, ConvertSpec
    from triton_kit.deployment.deploy import Deployment
    from triton_kit.deployment.spec import DeploySpec, Target
    from triton_kit.loadtest.results.result import PerfResult
    from triton_kit.loadtest.run.progress import Progress
    from triton_kit.loadtest.spec import Load, PerfSpec
    from triton_kit.options.conversion import Precision
    from triton_kit.repository.check.findings import CheckReport
    from triton_kit.repository.difference import Change
    from triton_kit.serving.server import Server
    from triton_kit.serving.spec import ServeSpec

AnyPath = str | os.PathLike[str]
Protocol = Literal["http", "grpc"]
ArtifactKind = Literal["onnx", "plan", "rtx"]


def build(
    project: AnyPath,
    *,
    target: str | None = None,
    output: AnyPath | None = None,
    cache: AnyPath | None = None,
    use_cache: bool = True,
    only: Iterable[str] = (),
    on_progress: Callable[[str], None] | None = None,
) -> BuildResult:
    """Build the models and pipelines of a project into a model repository.

    Args:
        project: a folder with a triton-kit.yaml, or the file.
        target: one of the project's targets; None: the first.
        output: the repository; None: `model_repository` beside triton-kit.yaml.
        cache: a folder of converted models, by content; None: one of the user.
        use_cache: whether converted models are looked up, and kept.
        only: models and pipelines to build; empty: all.
        on_progress: called with a line of text for each step.
    """
    from triton_kit import build_project
    from triton_kit.project.load import load_project

    return build_project.build(
        load_project(Path(project), target=target),
        output=_path(output),
        cache=_path(cache),
        use_cache=use_cache,
        only=only,
        on_progress=on_progress or (lambda _: None),
    )


@overload
def convert(
    source: ConvertSpec,
    *,
    executor: str = "local",
    compute_capability: str | None = None,
) -> ConvertResult: ...


@overload
def convert(
    source: AnyPath,
    output: AnyPath,
    *,
    artifact: ArtifactKind = "onnx",
    precision: Precision | Literal["auto"] = "fp32",
    shapes: Sequence[str] = (),
    calibration: AnyPath | None = None,
    verify_data: AnyPath | None = None,
    min_snr_db: float | None = None,
    keep_fp32: Sequence[str] = (),
    release: str | None = None,
    cache: AnyPath | None = None,
    dry_run: bool = False,
    seed: int = 0,
    executor: str = "local",
    compute_capability: str | None = None,
) -> ConvertResult: ...


def convert(
    source: AnyPath | ConvertSpec,
    output: AnyPath | None = None,
    *,
    artifact: ArtifactKind = "onnx",
    precision: Precision | Literal["auto"] = "fp32",
    shapes: Sequence[str] = (),
    calibration: AnyPath | None = None,
    verify_data: AnyPath | None = None,
    min_snr_db: float | None = None,
    keep_fp32: Sequence[str] = (),
    release: str | None = None,
    cache: AnyPath | None = None,
    dry_run: bool = False,
    seed: int = 0,
    executor: str = "local",
    compute_capability: str | None = None,
) -> ConvertResult:
    """Convert a model into a verified artifact, with its manifest beside it.

    Args:
        source: a model file or folder, or `package.module:function` for torch; or a
            ConvertSpec, which has every setting and stands alone.
        output: the folder to write.
        artifact: an ONNX file, a TensorRT plan or an engine of TensorRT for RTX.
        precision: `auto` is the cheapest that passes the accuracy gate.
        shapes: of inputs that vary, as `NAME:MIN,OPT,MAX`.
        calibration: an .npz file of samples, for int8 and fp8.
        verify_data: an .npz file of samples for the accuracy gate.
        min_snr_db: the gate; None: the floor of the precision.
        keep_fp32: nodes or operators that stay fp32.
        release: the Triton release that a plan is for, such as `26.06`.
        cache: a folder of converted models, by content.
        dry_run: check everything that needs no GPU, write nothing.
        seed: of the random inputs for the gate.
        executor: where it runs: `local`, `ray` or `ray://HEAD:10001`.
        compute_capability: in a cluster, of the GPU that a plan is for, such as `9.0`;
            None: any.
    """
    from triton_kit.conversion.spec import ARTIFACT_NAMES, ConvertSpec, source_of
    from triton_kit.execute.executors import conversion
    from triton_kit.options.conversion import Calibration, Gate
    from triton_kit.options.shapes import parse_shapes

    if isinstance(source, ConvertSpec):
        spec = replace(
            source, source=source_of(source.source), output=Path(source.output)
        )
        return conversion(executor, compute_capability)(spec)
    if output is None:
        raise SpecError(f"{os.fspath(source)}: convert needs a folder to write")
    samples = _path(calibration)
    return conversion(executor, compute_capability)(
        ConvertSpec(
            source=source_of(source),
            output=Path(output) / ARTIFACT_NAMES[artifact],
            format=artifact,
            precision=precision,
            profiles=parse_shapes(shapes),
            calibration=Calibration(data=samples) if samples else None,
            verify_data=_path(verify_data),
            gate=Gate(min_snr_db=min_snr_db),
            keep_fp32=tuple(keep_fp32),
            release=release,
            cache=_path(cache),
            dry_run=dry_run,
            seed=seed,
        )
    )


def check(
    repository: AnyPath | Sequence[AnyPath],
    *,
    release: str = "2.51",
    gpus: int = 0,
    strict: bool = False,
    backends: Sequence[str] | None = None,
    model_config_name: str = "",
    model_namespacing: bool = False,
) -> CheckReport:
    """Report which models of a repository a Triton server would reject, and why.

    Args:
        repository: the folder of model folders; or several, served together.
        release: the server's version (`2.51`) or container tag (`24.10`).
        gpus: how many GPUs the server has.
        strict: the server runs with --disable-auto-complete-config.
        backends: the backends that it has; None: those of the release's container.
        model_config_name: the server's --model-config-name.
        model_namespacing: the server runs with --model-namespacing.
    """
    from triton_kit.repository.check.check import check_repository

    return check_repository(
        repository,
        server=release,
        gpus=gpus,
        strict=strict,
        backends=backends,
        config_name=model_config_name,
        namespacing=model_namespacing,
    )


def inspect(file: AnyPath) -> dict[str, Any]:
    """Return what a model file, plan, engine or manifest contains, as JSON values."""
    from triton_kit.conversion.inspection.describe import describe

    return describe(Path(file))


def diff(before: AnyPath, after: AnyPath) -> list[Change]:
    """Return what two configs, models or repositories mean differently."""
    from triton_kit.repository.difference import changes

    return changes(Path(before), Path(after))


def render(config: Any, *, template: AnyPath | None = None) -> str:  # noqa: ANN401  protobuf has no types
    """Return the text of config.pbtxt for a ModelConfig message.

    Args:
        config: the message (`triton_kit.ModelConfig`).
        template: a Jinja template in place of the kit's own.
    """
    from triton_kit.repository.config import render as rendering

    return rendering.render(config, template=_path(template))


def parse(text: str | bytes) -> Any:  # noqa: ANN401  protobuf has no types
    """Return the ModelConfig message that the text of a config.pbtxt means."""
    from triton_kit.repository.config import parse as parsing

    data = text.encode() if isinstance(text, str) else text
    return parsing.parse(data).config


@contextmanager
def serve(
    repository: AnyPath | ServeSpec,
    *,
    http_port: int = 0,
    grpc_port: int = 0,
    metrics_port: int = 0,
    models: Sequence[str] | None = None,
    timeout_s: float = 120.0,
    stop_timeout_s: float = 30.0,
    log: AnyPath | None = None,
) -> Iterator[Server]:
    """Serve a repository on this machine for as long as the `with` block runs.

    Args:
        repository: the folder of model folders; or a ServeSpec, which has every
            setting and stands alone.
        http_port: port on 127.0.0.1 for HTTP; 0 is a free one.
        grpc_port: the same for gRPC.
        metrics_port: the same for Prometheus metrics.
        models: load these only; None: all.
        timeout_s: how long the models may take to become ready.
        stop_timeout_s: how long requests in flight may take at the end.
        log: the file for the server's log; None: a temporary one.
    """
    from triton_kit.serving.embedded import running
    from triton_kit.serving.spec import ServeSpec

    if isinstance(repository, ServeSpec):
        spec = replace(repository, repository=Path(repository.repository))
    else:
        spec = ServeSpec(
            repository=Path(repository),
            http_port=http_port or None,
            grpc_port=grpc_port or None,
            metrics_port=metrics_port or None,
            model_control="none" if models is None else "explicit",
            models=tuple(models or ()),
            ready_within_s=timeout_s,
            stop_within_s=stop_timeout_s,
            log=_path(log),
        )
    with running(spec) as server:
        yield server


def deploy(repository: AnyPath | DeploySpec, to: Target, output: AnyPath) -> Deployment:
    """Write the files that start a server for a repository elsewhere.

    Args:
        repository: the folder of model folders; or a DeploySpec, which has every
            setting, and the server's as a ServeSpec.
        to: where the server runs: `kubernetes`, `compose`, `kserve` or `quadlet`.
        output: the folder to write: new, empty, or from an earlier call.
    """
    from triton_kit.deployment.deploy import deploy as write
    from triton_kit.deployment.spec import DeploySpec
    from triton_kit.serving.spec import ServeSpec

    if isinstance(repository, DeploySpec):
        return write(repository, to, Path(output))
    server = ServeSpec(repository=Path(repository))
    return write(DeploySpec(server=server), to, Path(output))


def perf(
    model: str | PerfSpec,
    *,
    url: str = "localhost",
    protocol: Protocol = "http",
    concurrency: int | Sequence[int] | None = None,
    request_rate: float | Sequence[float] | None = None,
    duration_s: float | None = None,
    request_count: int | None = None,
    batch_size: int | Sequence[int] = 1,
    shapes: Mapping[str, Sequence[int]] | None = None,
    input_data: AnyPath = "random",
    slo: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
    seed: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
) -> PerfResult:
    """Put load on a served model and measure it.

    Args:
        model: the name of the model or pipeline; or a PerfSpec, which has every setting
            and stands alone.
        url: HOST:PORT of the server, with a scheme if it has one.
        protocol: what that port speaks.
        concurrency: requests in flight, one load for each number; 1 if no load is set.
        request_rate: requests per second, one load for each number.
        duration_s: how long each load is measured; None: until the figures are stable.
        request_count: measure this many requests instead.
        batch_size: inferences per request; with several, each load runs with each.
        shapes: of inputs that vary, without the batch axis.
        input_data: `random`, `zero`, or a file or folder of inputs.
        slo: objectives such as `p99<20ms,errors<0.1%`.
        headers: HTTP headers or gRPC metadata.
        timeout_s: a request without a response after this time has failed.
        seed: of random inputs.
        on_progress: called a few times per second.
    """
    from triton_kit.loadtest.results.slo import parse_slo
    from triton_kit.loadtest.run.measure import measure
    from triton_kit.loadtest.spec import PerfSpec
    from triton_kit.loadtest.sweep_spec import sweep

    if isinstance(model, PerfSpec):
        return measure(model, on_progress)
    sizes = _each(batch_size)
    fixed = {name: tuple(shape) for name, shape in (shapes or {}).items()}
    spec = PerfSpec(
        url=url,
        model=model,
        protocol=protocol,
        loads=_loads(concurrency, request_rate, seed),
        measurement_interval_s=duration_s,
        request_count=request_count,
        batch_size=sizes[0],
        shapes=fixed,
        sweep=sweep(sizes, {name: [shape] for name, shape in fixed.items()})
        if len(sizes) > 1
        else (),
        input_data=os.fspath(input_data),
        slo=parse_slo(slo) if slo else (),
        headers=dict(headers or {}),
        request_timeout_s=timeout_s,
        seed=seed,
    )
    return measure(spec, on_progress)


def _loads(
    concurrency: int | Sequence[int] | None,
    request_rate: float | Sequence[float] | None,
    seed: int,
) -> tuple[Load, ...]:
    from triton_kit.loadtest.loops.load import ClosedLoad, RateLoad

    if request_rate is None:
        return tuple(
            ClosedLoad(n) for n in _each(1 if concurrency is None else concurrency)
        )
    if concurrency is not None:
        raise SpecError(
            "both a concurrency and a request rate are set", hint="leave one out"
        )
    return tuple(RateLoad(rate_hz=rate, seed=seed) for rate in _each(request_rate))


def _each(value: Any) -> Sequence[Any]:  # noqa: ANN401  a number, or several
    return value if isinstance(value, Sequence) else [value]


def _path(path: AnyPath | None) -> Path | None:
    return None if path is None else Path(path)

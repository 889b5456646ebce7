"""Options of perf_analyzer that `triton-kit perf` replaces, ignores or refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any  # Any: each option has its own type

import click

from triton_kit.cli.perf.group import COUNT, Option, option
from triton_kit.errors import SpecError

_TRACING = (
    "tracing is a setting of the server, slows it down and stays on after the run",
    "start the server with --trace-config, or POST to /v2/trace/setting",
)
_OTHER_GRPC = (
    None,
    "gRPC calls are those of the KServe v2 protocol",
    "-i grpc; ghz calls methods of other services",
)
# Option -> the only value it accepts, why no other, and what helps.
_LEFT_OUT = {
    "--service-kind": (
        "triton",
        "requests go to Triton or an OpenAI API, over a socket",
        "the C API, TFServing, TorchServe and other gRPC services are not spoken",
    ),
    "--grpc-method": _OTHER_GRPC,
    "--proto": _OTHER_GRPC,
    "--input-tensor-format": (
        "binary",
        "tensors travel as bytes",
        "--endpoint generate sends plain JSON",
    ),
    "--output-tensor-format": (
        "binary",
        "tensors travel as bytes",
        "--endpoint generate returns plain JSON",
    ),
    "--trace-level": ("OFF", *_TRACING),
    "--trace-rate": ("1000", *_TRACING),
    "--trace-count": ("-1", *_TRACING),
    "--log-frequency": ("0", *_TRACING),
}
# Of other kinds of service; perf_analyzer ignores them for Triton, too.
_IGNORED = ("--model-signature-name", "--triton-server-directory", "--model-repository")


_OPENAI = ("--service-kind", "openai")


def _options() -> tuple[Option, ...]:
    ignored: dict[str, Any] = {"hidden": True, "expose_value": False}
    return (
        option("-z", "zero_data", is_flag=True, hidden=True),
        option("--data-directory", type=click.Path(), hidden=True),
        option("-t", "concurrency", type=int, hidden=True),
        option("-c", "most_concurrency", type=int, hidden=True),
        option("-d", "is_range", is_flag=True, hidden=True),
        option("-a", "--async", is_flag=True, **ignored),
        option("--sync", is_flag=True, **ignored),
        option("--max-threads", type=COUNT, **ignored),
        *(option(name, **ignored) for name in _IGNORED),
        *(
            option(
                name,
                multiple=True,
                callback=_refuse,
                hidden=True,
                expose_value=name == "--service-kind",
            )
            for name in _LEFT_OUT
        ),
        option(
            "--session-concurrency",
            "session_concurrency",
            type=COUNT,
            hidden=True,
        ),
        option("--enable-mpi", is_flag=True, callback=_refuse_mpi, **ignored),
    )


def _refuse(
    _ctx: click.Context, option: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    name = option.opts[0]
    only, why, instead = _LEFT_OUT[name]
    for word in given:
        if word != only and (name, word) != _OPENAI:
            raise SpecError(f"{name} {word} is left out: {why}", hint=instead)
    return given


def _refuse_mpi(_ctx: click.Context, _option: click.Parameter, given: bool) -> None:
    if given:
        raise SpecError(
            "--enable-mpi is left out: the load comes from one machine",
            hint="--processes N shares it among its cores",
        )


def _openai_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that those of OpenAI's service kind stand for.

    Raises:
        SpecError: they are given without an endpoint of that API.
    """
    sessions = options["session_concurrency"]
    if options["endpoint"] not in ("chat", "completions"):
        for name, is_given in (
            ("--service-kind openai", "openai" in options["service_kind"]),
            (f"--session-concurrency {sessions}", sessions is not None),
        ):
            if is_given:
                raise SpecError(
                    f"{name} needs an endpoint of the OpenAI API",
                    hint="--endpoint chat or --endpoint completions",
                )
    if sessions is None:
        return {}
    if options["concurrency_range"] is not None:
        raise SpecError("--session-concurrency and --concurrency-range: a load is one")
    return {"concurrency_range": f"{sessions}"}


def with_current_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with deprecated ones replaced by those of today.

    Raises:
        SpecError: an option is given by both names.
    """
    folder = options["data_directory"]
    sources = (
        *(["zero"] if options["zero_data"] else []),
        *([folder] if folder else []),
    )
    today = dict(options) | {"input_data": (*sources, *options["input_data"])}
    today |= _openai_options(options)
    options = today
    start, end = options["concurrency"], options["most_concurrency"]
    if start is end is None and not options["is_range"]:
        return today
    if options["concurrency_range"] is not None:
        raise SpecError("-t, -c and -d are deprecated words of --concurrency-range")
    text = f"{1 if start is None else start}"
    # As in perf_analyzer, -c needs -d, and -d without -c has no end.
    is_range = options["is_range"]
    return today | {"concurrency_range": f"{text}:{end or 0}" if is_range else text}


OPTIONS = _options()

"""Options of perf_analyzer that `triton-kit perf` has another word for, or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from triton_kit.errors import SpecError

_TRACING = (
    "tracing is a setting of the server, slows it down and stays on after the run",
    "start the server with --trace-config, or POST to /v2/trace/setting",
)
# Option -> the one word it takes, as that is so anyway; why no other; what helps.
_LEFT_OUT = {
    "--service-kind": (
        "triton",
        "requests go to Triton, over a socket",
        "the C API, TFServing, TorchServe and OpenAI are not spoken",
    ),
    "--input-tensor-format": (
        "binary",
        "tensors travel as bytes",
        "--endpoint generate sends plain JSON",
    ),
    "--output-tensor-format": (
        "binary",
        "tensors travel as bytes",
        "--endpoint generate is answered with plain JSON",
    ),
    "--trace-level": ("OFF", *_TRACING),
    "--trace-rate": ("1000", *_TRACING),
    "--trace-count": ("-1", *_TRACING),
    "--log-frequency": ("0", *_TRACING),
}
# For kinds of service that are not there; perf_analyzer does not read them either.
_UNREAD = ("--model-signature-name", "--triton-server-directory", "--model-repository")


def other_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command; none of them is in its help."""
    for option in reversed(_options()):
        command = option(command)
    return command


def _options() -> list[Callable[..., Any]]:
    flags = (("-a", "--async"), ("--sync",), ("-v", "--verbose"))
    silent: dict[str, Any] = {"hidden": True, "expose_value": False}
    return [
        click.option("-z", "zero_data", is_flag=True, hidden=True),
        click.option("--data-directory", type=click.Path(), hidden=True),
        click.option("-t", "concurrency", type=int, hidden=True),
        click.option("-c", "most_concurrency", type=int, hidden=True),
        click.option("-d", "is_range", is_flag=True, hidden=True),
        *(click.option(*names, is_flag=True, **silent) for names in flags),
        click.option("--max-threads", type=click.IntRange(min=1), **silent),
        *(click.option(name, **silent) for name in _UNREAD),
        *(
            click.option(name, multiple=True, callback=_refuse, **silent)
            for name in _LEFT_OUT
        ),
        click.option("--enable-mpi", is_flag=True, callback=_refuse_mpi, **silent),
    ]


def _refuse(
    _ctx: click.Context, option: click.Parameter, given: tuple[str, ...]
) -> None:
    name = option.opts[0]
    only, why, instead = _LEFT_OUT[name]
    for word in given:
        if word != only:
            raise SpecError(f"{name} {word} is left out: {why}", hint=instead)


def _refuse_mpi(_ctx: click.Context, _option: click.Parameter, given: bool) -> None:
    if given:
        raise SpecError(
            "--enable-mpi is left out: the load comes from one machine",
            hint="--processes N shares it among its cores",
        )


def in_words_of_today(options: dict[str, Any]) -> None:
    """Say with the other options what the deprecated ones say, and take those out.

    Raises:
        SpecError: both are there.
    """
    sources = ["zero"] if options.pop("zero_data") else []
    if folder := options.pop("data_directory"):
        sources.append(folder)
    options["input_data"] = (*sources, *options["input_data"])
    start = options.pop("concurrency")
    end = options.pop("most_concurrency")
    is_range = options.pop("is_range")
    if start is end is None and not is_range:
        return
    if options["concurrency_range"] is not None:
        raise SpecError("-t, -c and -d are deprecated words of --concurrency-range")
    text = f"{1 if start is None else start}"
    # As there, -c means nothing without -d, and -d without -c has no end.
    options["concurrency_range"] = f"{text}:{end or 0}" if is_range else text

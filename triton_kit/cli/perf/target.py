"""Which models to load-test, and where they are served.

With one model the options are perf_analyzer's. With several, `-m NAME=WEIGHT` gives
each its part of the requests, and other options may begin with `NAME=` to apply to one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any  # Any: the fields of a PerfSpec

import click

from triton_kit.cli.perf.group import option
from triton_kit.errors import SpecError
from triton_kit.triton.address import shown

_TLS_SCHEMES = ("https://", "grpcs://")

if TYPE_CHECKING:
    from triton_kit.tensors import Shape

MODEL = option(
    "-m",
    "--model-name",
    "models",
    multiple=True,
    metavar="NAME[=WEIGHT]",
    help="Model. Default: the only one. Several by weight: -m a=3 -m b.",
)
URL = option(
    "-u",
    "--url",
    "urls",
    multiple=True,
    default=("localhost",),
    metavar="HOST:PORT",
    help="Address of the server. Several: requests go to them in turn.",
)
PROTOCOL = option(
    "-i",
    "--protocol",
    type=click.Choice(["http", "grpc"], case_sensitive=False),
    default="http",
    help="Protocol of the port.",
)
BATCH_SIZE = option(
    "-b",
    "--batch-size",
    "batch_sizes",
    multiple=True,
    metavar="N",
    help="Inferences per request; several, one run each: 1,2,4 or 1:64:x2.  "
    "[default: 1]",
)
HEADER = option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    metavar="NAME:VALUE",
    help="HTTP header or gRPC metadata of every request. Repeatable.",
)
OPTIONS = (
    option(
        "-x",
        "--model-version",
        "versions",
        multiple=True,
        metavar="VERSION",
        help="Version of the model. Default: the server chooses.",
    ),
    option(
        "--streaming",
        is_flag=True,
        help="Send each gRPC request on a stream of its own, as decoupled models need.",
    ),
    HEADER,
    option(
        "--request-parameter",
        "parameters",
        multiple=True,
        metavar="NAME:VALUE:TYPE",
        help="Parameter of every request, such as priority:1:int; TYPE is int, bool or "
        "string. Repeatable.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOptions:
    """Models, address and protocol; some options are for one of several models."""

    models: tuple[str, ...]
    versions: tuple[str, ...]
    batch_sizes: tuple[str, ...]
    shapes: tuple[str, ...]
    input_data: tuple[str, ...]
    urls: tuple[str, ...]
    protocol: str
    streaming: bool
    headers: tuple[str, ...]
    parameters: tuple[str, ...]

    def __post_init__(self) -> None:
        if len({url.startswith(_TLS_SCHEMES) for url in self.urls}) > 1:
            raise SpecError(
                f"some of {', '.join(map(shown, self.urls))} speak TLS, others do not",
                hint="https:// (or grpcs://) in every -u, or in none",
            )

    @property
    def url(self) -> str:
        """The first server."""
        return self.urls[0]

    def fields(self, extra_data: Sequence[str] = ()) -> dict[str, Any]:
        """Return the fields of a PerfSpec; `extra_data` comes before `input_data`.

        Raises:
            SpecError: an option cannot be read, or leaves open which model it is for.
        """
        from triton_kit.loadtest import option_texts

        return {
            "url": self.url,
            "more_urls": self.urls[1:],
            "protocol": self.protocol,
            "streaming": self.streaming,
            "headers": dict(option_texts.parse_header(text) for text in self.headers),
            "parameters": dict(
                option_texts.parse_parameter(text) for text in self.parameters
            ),
            **self._models((*extra_data, *self.input_data)),
        }

    def _models(self, input_data: Sequence[str]) -> dict[str, Any]:
        from triton_kit.loadtest.loops.mix import ModelShare

        given: dict[str, Sequence[str]] = {
            "versions": self.versions,
            "batch_sizes": self.batch_sizes,
            "shapes": self.shapes,
            "input_data": input_data,
        }
        if len(self.models) <= 1:
            fields = _model_fields(given)
            return {"model": "".join(self.models), **fields, **_sweep(given)}
        weights = [_weight(word) for word in self.models]
        names = [name for name, _ in weights]
        _require_names(self.shapes, names)
        shares = []
        for name, weight in weights:
            own = {what: _for_model(name, words) for what, words in given.items()}
            _require_single(own)
            shares.append(ModelShare(model=name, weight=weight, **_model_fields(own)))
        common = {what: _for_all(names, words) for what, words in given.items()}
        _require_single(common)
        return {"models": tuple(shares), **_model_fields(common)}


def _model_fields(given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the fields of a spec that are given; the last one of several counts."""
    from triton_kit.loadtest.option_texts import parse_shape
    from triton_kit.loadtest.sweep_spec import parse_batch_sizes

    fields: dict[str, Any] = {}
    if versions := given["versions"]:
        fields["version"] = versions[-1]
    if sizes := given["batch_sizes"]:
        fields["batch_size"] = parse_batch_sizes(sizes[-1])[0]
    if shapes := given["shapes"]:
        fields["shapes"] = dict(parse_shape(text) for text in reversed(shapes))
    if sources := given["input_data"]:
        fields["input_data"] = sources[0] if len(sources) == 1 else tuple(sources)
    return fields


def _sweep(given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the batch sizes and shapes to measure, if there are several."""
    from triton_kit.loadtest.option_texts import parse_shape
    from triton_kit.loadtest.sweep_spec import parse_batch_sizes, sweep

    shapes: dict[str, list[Shape]] = {}
    for name, shape in map(parse_shape, given["shapes"]):
        shapes.setdefault(name, []).append(shape)
    sizes = [*given["batch_sizes"][-1:], "1"][0]
    variants = sweep(parse_batch_sizes(sizes), shapes)
    return {"sweep": variants} if len(variants) > 1 else {}


def _require_single(given: Mapping[str, Sequence[str]]) -> None:
    """Refuse a sweep of one of several models."""
    if swept := _sweep(given).get("sweep"):
        raise SpecError(
            f"{len(swept)} batch sizes and shapes, but several models",
            hint="sweep one model at a time",
        )


def _weight(word: str) -> tuple[str, int]:
    name, equals, weight = word.partition("=")
    return name, _whole(f"weight of model {name!r}", weight) if equals else 1


def _whole(what: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise SpecError(f"{what} {text!r}: need a whole number") from error


def _for_model(name: str, words: Sequence[str]) -> list[str]:
    mark = f"{name}="
    return [word.removeprefix(mark) for word in words if word.startswith(mark)]


def _for_all(names: Sequence[str], words: Sequence[str]) -> list[str]:
    marks = tuple(f"{name}=" for name in names)
    return [word for word in words if not word.startswith(marks)]


def _require_names(shapes: Sequence[str], names: Sequence[str]) -> None:
    if unnamed := _for_all(names, shapes):
        raise SpecError(
            f"--shape {unnamed[0]} leaves open which of {len(names)} models it is for",
            hint=f"--shape {names[0]}={unnamed[0]}",
        )

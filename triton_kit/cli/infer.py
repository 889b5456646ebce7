"""`triton-kit infer`: one request to a served model, to see that it works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: what click hands over

import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import json_option, output_option, timeout_option
from triton_kit.cli.output import echo, echo_json
from triton_kit.cli.perf import data, target, transport
from triton_kit.cli.perf.data import DataOptions
from triton_kit.cli.perf.group import from_options
from triton_kit.cli.perf.spec import only_model
from triton_kit.cli.perf.target import TargetOptions
from triton_kit.cli.perf.transport import TransportOptions

if TYPE_CHECKING:
    from triton_kit.loadtest.run.single_request import Inference, Output

_MOST_VALUES = 8


@kit_command(
    short_help="Send one request and show the response.",
    epilog="Input data: docs/perf-reference.md.",
    examples=(
        "triton-kit infer -m digits --input-data sample.npz",
        "triton-kit infer -m resnet --input-data image:cat.png -o result.npz",
        "triton-kit infer -m tokens -i grpc --input-data text:value:hello",
    ),
)
@cloup.option_group(
    "Request",
    kit_option(
        "-m",
        "--model-name",
        "model",
        metavar="NAME",
        help="Model. Default: the only one of the server.",
    ),
    target.URL,
    target.PROTOCOL,
    target.BATCH_SIZE,
    data.INPUT_DATA,
    data.SHAPE,
    *target.OPTIONS,
    *data.OPTIONS,
    timeout_option("Time for the response.", default=60.0),
)
@cloup.option_group("Transport", *transport.OPTIONS)
@cloup.option_group(
    "Output",
    output_option("Write the outputs to this .npz file."),
    json_option("Print the outputs as JSON."),
)
def command(
    *,
    model: str | None,
    timeout_s: float,
    output: Path | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Send one request to a served model and show the outputs.

    Without --input-data the inputs are random. A model that streams needs -i grpc.
    """
    from triton_kit.files import check_writable, write_whole
    from triton_kit.loadtest.run.single_request import infer, npz_bytes
    from triton_kit.loadtest.spec import PerfSpec

    if output is not None:
        check_writable(output)
    options["models"] = (model,) if model else ()
    asked = from_options(TargetOptions, options)
    settings = from_options(TransportOptions, options)
    fields = {
        **asked.fields(),
        **from_options(DataOptions, options).fields(),
        "transport": settings.transport(protocol=asked.protocol, url=asked.url),
    }
    if not asked.models:
        fields["model"] = only_model(PerfSpec(**fields | {"model": "any"}))
    result = infer(PerfSpec(**fields), within_s=timeout_s)
    if output is not None:
        write_whole(output, npz_bytes(result.outputs))
    if as_json:
        echo_json(_document(result))
    else:
        _print(result)


def _document(result: Inference) -> dict[str, object]:
    return {
        "model": result.model,
        "version": result.version,
        "responses": result.responses,
        "latency_ms": round(result.latency_ms, 3),
        "outputs": {
            name: {
                "datatype": output.datatype,
                "shape": list(output.values.shape),
                "values": output.plain(),
            }
            for name, output in result.outputs.items()
        },
    }


def _print(result: Inference) -> None:
    parts = "" if result.responses == 1 else f", {result.responses} responses"
    echo(f"{result.model}, version {result.version}: {result.latency_ms:.1f} ms{parts}")
    for name, output in result.outputs.items():
        shape = ",".join(map(str, output.values.shape))
        echo(f"  {name}  {output.datatype} [{shape}]  {_shortened(output)}")


def _shortened(output: Output) -> str:
    """Return the first values of an output as JSON."""
    values = output.plain(most=_MOST_VALUES)
    rounded = [float(f"{v:.6g}") if isinstance(v, float) else v for v in values]
    first = json.dumps(rounded, ensure_ascii=False)
    more = output.values.size - _MOST_VALUES
    return f"{first[:-1]}, ... {more} more]" if more > 0 else first

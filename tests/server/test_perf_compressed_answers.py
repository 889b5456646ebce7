import json

import numpy as np
import pytest

from triton_kit.loadtest.client.protocol import protocol_of
from triton_kit.loadtest.loops.closed_loop import ClosedLoop
from triton_kit.loadtest.loops.observed import ObservedTransport, ResponseChecks
from triton_kit.loadtest.net.clock import now_ns, ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec
from triton_kit.loadtest.transport_spec import TransportSpec

pytestmark = pytest.mark.server

ALGORITHMS = ("gzip", "deflate")
COUNT = 1000


def spec(loaded, protocol, algorithm, **changes):
    fixed = {
        "url": loaded.grpc_url if protocol == "grpc" else loaded.http_url,
        "protocol": protocol,
        "model": "varying",
        "shapes": {"x": (COUNT,)},
        "loads": (ClosedLoad(4),),
        "request_count": 40,
        "warm_up_s": 0,
        "transport": TransportSpec(accept_compression=algorithm),
    }
    return PerfSpec(**(fixed | changes))


def one_answer(asked, *, streaming):
    """The bytes of one answer, as they came."""
    protocol = protocol_of(asked, streaming=streaming)
    model = protocol.control.model(asked.model)
    inputs = {"x": np.ones(COUNT, np.float32)}
    request, answers = protocol.encode(model, inputs, {}), []
    with Reactor() as reactor, protocol.transport(reactor, True) as transport:
        answered = ResponseChecks(lambda _request, answer: answers.append(answer))
        observed = ObservedTransport(transport, [answered])
        engine = ClosedLoop(reactor, observed, [request], concurrency=1)
        reactor.call_at(now_ns() + ns(10), reactor.stop)
        engine.begin(count=1)
        reactor.run()
    return protocol, answers[0]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("protocol", "streaming"), [("http", False), ("grpc", False), ("grpc", True)]
)
def test_the_server_compresses_and_we_read_it(loaded, protocol, streaming, algorithm):
    spoken, answer = one_answer(spec(loaded, protocol, algorithm), streaming=streaming)

    outputs = spoken.decode(answer)

    assert len(answer) < COUNT
    assert (outputs["y"] == 1).all()
    assert outputs["y"].shape == (COUNT,)


@pytest.mark.parametrize("algorithm", ["none", *ALGORITHMS])
@pytest.mark.parametrize(
    ("protocol", "streaming"), [("http", False), ("grpc", False), ("grpc", True)]
)
def test_compressed_responses_are_compared(
    loaded, tmp_path, protocol, streaming, algorithm
):
    values = [float(number) for number in range(COUNT)]
    right, wrong = {"y": values}, {"y": [*values[:-1], -1.0]}
    path = tmp_path / "data.json"
    document = {"data": [{"x": values}] * 2, "validation_data": [right, wrong]}
    path.write_text(json.dumps(document))

    result = measure(
        spec(loaded, protocol, algorithm, input_data=str(path), streaming=streaming)
    )
    [run] = result.runs

    assert run.figures.succeeded == 20
    assert {kind: tally.count for kind, tally in run.recording.errors.items()} == {
        "wrong response": 20
    }


def test_an_error_in_a_compressed_stream_is_still_an_error(loaded, tmp_path):
    path = tmp_path / "counts.json"
    path.write_text(json.dumps({"data": [{"count": [3]}, {"count": [101]}]}))

    result = measure(
        spec(
            loaded,
            "grpc",
            "gzip",
            model="repeat",
            shapes={},
            input_data=str(path),
            request_count=10,
        )
    )
    tally = result.runs[0].recording.errors["stream error"]

    assert tally.count == 5
    assert "too many" in tally.example


def test_the_command_accepts_compressed_responses(loaded, kit):
    result = kit(
        *("perf", "-m", "mlp", "-u", loaded.http_url, "--request-count", 20),
        *("--accept-compression", "gzip"),
    )

    assert result.exit_code == 0, result.output

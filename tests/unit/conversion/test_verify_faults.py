"""Faults planted in networks are found; harmless rewrites pass (bench: hundreds)."""

import itertools

import numpy as np
import onnxruntime as ort
import pytest
from convert_networks import cnn, detector, transformer
from onnxruntime.capi import onnxruntime_pybind11_state as state

import graph_faults
from triton_kit.conversion.verify.check import Check
from triton_kit.conversion.verify.compare import tally
from triton_kit.conversion.verify.gate import make_reference
from triton_kit.conversion.workers.models import write_feeds
from triton_kit.errors import VerifyError
from triton_kit.options.conversion import Gate

# ONNX Runtime refuses the graph: there is nothing that could be served.
REFUSED = (
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.RuntimeException,
)
FAULTS = 13  # of each network: about one of every kind
NETWORKS = {
    "cnn": (cnn, "image", (8, 3, 32, 32)),
    "detector": (detector, "images", (4, 3, 32, 32)),
    "transformer": (transformer, "tokens", (4, 16)),
}


def outputs_of(model, feed):
    session = ort.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return [dict(zip(names, session.run(names, feed), strict=True))]


def is_rounding(exact, found):
    """Say whether nothing is wrong: such as a key's bias, which a softmax ignores."""
    return all(tally(a, found[name]).snr_db > 110 for name, a in exact.items())


def is_refused(check, outputs):
    try:
        check.outputs(outputs)
    except VerifyError:
        return True
    return False


@pytest.fixture(params=list(NETWORKS))
def network(request, tmp_path):
    """A network, one feed, and the check of an artifact in fp32."""
    build, name, shape = NETWORKS[request.param]
    rng = np.random.default_rng(0)
    values = rng.standard_normal(shape).astype(np.float32)
    feed = {name: rng.integers(0, 50, shape) if name == "tokens" else values}
    model = build()
    feeds = write_feeds([feed], tmp_path / "feeds")
    outputs = outputs_of(model, feed)
    reference = make_reference(feeds, outputs, timeout_s=60, data="random")
    return model, feed, Check(reference, Gate(), "fp32")


def test_planted_faults_are_found(network):
    model, feed, check = network

    for name, wrong in itertools.islice(graph_faults.faults(model, 0), FAULTS):
        try:
            outputs = outputs_of(wrong, feed)
        except REFUSED:
            continue
        if is_rounding(check.reference.outputs[0], outputs[0]):
            continue
        assert is_refused(check, outputs), name


def test_harmless_rewrites_pass(network):
    model, feed, check = network
    rng = np.random.default_rng(0)

    for rewrite in graph_faults.REWRITES:
        figures = check.outputs(outputs_of(rewrite(model, rng), feed))

        assert min(f.snr_db for f in figures) > 90, rewrite.__name__

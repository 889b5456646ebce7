"""The accuracy gate against planted faults and harmless rewrites of real networks.

Each network, simplified as the converter does it, gets faults in turn until there are
enough. A drawn fault that changes no output beyond the rounding of float32 (a channel
that is always zero, a key's bias before a softmax) is drawn again. Rewrites compute the
same up to that rounding. Networks run in this process, as the gate runs them.
"""

import itertools
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from networks import NETWORKS, ROOT

sys.path.append(str(ROOT / "tests"))
import graph_faults

FAULTY = ("text-direction", "yolov8n", "noise-filter", "file-types", "sentences")
FAULTS, REWRITES, SAMPLES = 40, 10, 16  # of each network
SEED = 1
ROUNDING_DB = 110
GATES = ("fp32", "fp16", "int8")


def session(model):
    """Open a session as the gate does: not optimised."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    providers = ["CPUExecutionProvider"]
    return ort.InferenceSession(model.SerializeToString(), options, providers=providers)


class Trial:
    """One network, its reference, and the gate of every precision."""

    def __init__(self, network, folder):
        from triton_kit.conversion.onnx.affine import fold_affine
        from triton_kit.conversion.onnx.hard_sigmoid import fuse_hard_sigmoids
        from triton_kit.conversion.verify.gate import make_reference
        from triton_kit.conversion.verify.own_noise import OwnNoise
        from triton_kit.conversion.workers.models import write_feeds
        from triton_kit.conversion.workers.samples import batches
        from triton_kit.options.shapes import parse_shapes

        self.model = graph_faults.folded(onnx.load(network.path()), None)
        fuse_hard_sigmoids(self.model)
        fold_affine(self.model)
        shapes = {n: b.opt for n, b in parse_shapes(network.shapes)[0].items()}
        self.inputs = list(batches(network.samples(SAMPLES, SEED), shapes))
        outputs = self.run(self.model)
        labels = ["samples"] * len(self.inputs)
        feeds = write_feeds(self.inputs, folder, labels=labels)
        noise = OwnNoise(feeds, outputs, self.run_files, folder / "noisy")
        self.reference = make_reference(
            feeds, outputs, timeout_s=60, data="samples", noise=noise
        )

    def run(self, model, inputs=None):
        """Return a model's outputs for every input, by name."""
        opened = session(model)
        names = [output.name for output in opened.get_outputs()]
        return [
            dict(zip(names, opened.run(names, feed), strict=True))
            for feed in inputs or self.inputs
        ]

    def run_files(self, feeds):
        """Return the original's outputs for feeds on disk."""
        from triton_kit.conversion.workers.samples import read_feed

        return self.run(self.model, [read_feed(p, feeds.names) for p in feeds.paths])

    def refuses(self, outputs, precision):
        """Say why the gate refuses outputs; None where it does not."""
        from triton_kit.conversion.verify.check import Check
        from triton_kit.errors import VerifyError
        from triton_kit.options.conversion import Gate

        try:
            Check(self.reference, Gate(), precision).outputs(outputs)
        except VerifyError as error:
            return error.message
        return None

    def changed(self, outputs):
        """Say whether any output is another one, beyond the rounding of float32."""
        from triton_kit.conversion.verify.compare import tally

        return any(
            not tally(a[name], b[name]).snr_db > ROUNDING_DB
            for a, b in zip(self.reference.outputs, outputs, strict=True)
            for name in a
        )


def main(say, names=()):
    """Return the counts by network, and what went wrong, one line each."""
    found = []
    for network in NETWORKS:
        if network.name in (names or FAULTY):
            with tempfile.TemporaryDirectory() as folder:
                found.append(tried(network, Path(folder)))
            say(str(found[-1]))
    return found


def tried(network, folder):
    """Return the figures of one network."""
    trial = Trial(network, folder)
    found = {"network": network.name} | planted(trial)
    rewrites = itertools.islice(itertools.cycle(graph_faults.REWRITES), REWRITES)
    rng = np.random.default_rng(SEED)
    refused = []
    for rewrite in rewrites:
        if why := trial.refuses(trial.run(rewrite(trial.model, rng)), "fp32"):
            refused.append(f"{rewrite.__name__}: {why}")
    return found | {"rewrites": REWRITES, "refused": refused}


def planted(trial):
    """Return how many faults the gate of each precision finds, and those missed."""
    caught, missed, count, unseen = Counter(), [], 0, 0
    for name, model in graph_faults.faults(trial.model, SEED):
        if count == FAULTS:
            break
        try:
            outputs = trial.run(model)
        except Exception:  # the runtime refuses it: nothing that could be served
            continue
        if not trial.changed(outputs):
            unseen += 1
            continue
        count += 1
        for precision in GATES:
            if trial.refuses(outputs, precision):
                caught[precision] += 1
            elif precision == "fp32":
                missed.append(name)
    counts = {f"found as {precision}": caught[precision] for precision in GATES}
    return {"faults": count, "unseen": unseen, "missed": missed} | counts


def markdown(found):
    """Return a table of the counts."""
    from report import table

    head = ["network", "faults", "found as fp32", "found as fp16", "found as int8"]
    head += ["rewrites", "refused", "drawn again"]
    keys = [*head[:6], "refused", "unseen"]
    lines = [
        [str(len(row[k]) if k == "refused" else row[k]) for k in keys] for row in found
    ]
    total = [str(sum(int(line[i]) for line in lines)) for i in range(1, len(head))]
    return table(head, [*lines, ["all", *total]])

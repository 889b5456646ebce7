"""What the prepared graph does with its inputs: shapes, work and ranges of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod

from onnx import ModelProto, NodeProto, TensorProto, helper

from triton_kit.conversion.onnx.onnx_file import opset_of, save_for_worker, value_shapes
from triton_kit.conversion.precision.overflow import MEANS
from triton_kit.conversion.precision.ranges import ValueRange, observe
from triton_kit.conversion.precision.share import HEAVY_OPS, RECURRENT_OPS
from triton_kit.conversion.workers.models import run_onnx, write_feeds
from triton_kit.conversion.workers.samples import Feed, batches
from triton_kit.errors import VerifyError
from triton_kit.scratch import scratch_folder
from triton_kit.tensors import Shape


class Observed:
    """Runs the graph that every candidate is made from; each figure is found once.

    Args:
        model: the prepared graph, in float32.
        calibration: all calibration samples.
        verification: the feeds of the accuracy gate.
        best: shapes of the inputs, the first profile's opt.
        timeout_s: maximum seconds for one run.
    """

    def __init__(
        self,
        model: ModelProto,
        *,
        calibration: Feed | None,
        verification: Sequence[Feed],
        best: Mapping[str, Shape],
        timeout_s: float,
    ) -> None:
        self._model = model
        self._calibration = calibration
        self._verification = verification
        self._best = best
        self._timeout_s = timeout_s
        self._ranges: dict[tuple[int, bool, bool], dict[str, ValueRange]] = {}

    def feeds(self, precision: str) -> Sequence[Feed]:
        """Return what activation ranges of a precision are taken from."""
        if self._calibration is None:
            return self._verification
        calibration = tuple(batches(self._calibration, self._best))
        # fp16 must not overflow on what the gate sends, either.
        return (
            (*calibration, *self._verification) if precision == "fp16" else calibration
        )

    def ranges(
        self, model: ModelProto, precision: str, *, histograms: bool
    ) -> dict[str, ValueRange]:
        """Return the range of every float32 value of the graph, in any opset.

        Raises:
            ConvertError: the graph does not run, or a value is NaN.
        """
        key = (opset_of(model), precision == "fp16", histograms)
        if key not in self._ranges:
            self._ranges[key] = observe(
                model,
                self.feeds(precision),
                histograms=histograms,
                timeout_s=self._timeout_s,
            )
        return self._ranges[key]

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Shapes of values at `best`: inferred, or else taken from a run."""
        shapes = value_shapes(self._model, self._best)
        shapes |= {t.name: tuple(t.dims) for t in self._model.graph.initializer}
        unknown = [
            name
            for node in self._model.graph.node
            if node.op_type in (*HEAVY_OPS, *MEANS)
            for name in (*node.input, *node.output)
            if name and name not in shapes
        ]
        return shapes | self._run_for_shapes(list(dict.fromkeys(unknown)))

    def _run_for_shapes(self, names: list[str]) -> dict[str, Shape]:
        """Run the graph for the shapes of values; none where it does not run so."""
        feed = next(
            (
                feed
                for feed in self._verification
                if all(feed[name].shape == shape for name, shape in self._best.items())
            ),
            None,
        )
        if not names or feed is None:
            return {}
        copy = ModelProto()
        copy.CopyFrom(self._model)
        wanted = {name: f"triton_kit_shape_{i}" for i, name in enumerate(names)}
        for name, output in wanted.items():
            copy.graph.node.append(helper.make_node("Shape", [name], [output]))
            copy.graph.output.append(
                helper.make_tensor_value_info(output, TensorProto.INT64, None)
            )
        with scratch_folder() as folder:
            save_for_worker(copy, folder / "shapes.onnx")
            try:
                (found,) = run_onnx(
                    folder / "shapes.onnx",
                    write_feeds([feed], folder / "feeds"),
                    level="off",
                    folder=folder,
                    timeout_s=self._timeout_s,
                )
            except VerifyError:
                return {}
        return {name: tuple(found[output].tolist()) for name, output in wanted.items()}

    @cached_property
    def works(self) -> dict[str, int | None]:
        """Multiplications of the nodes that do most; None where a shape is unknown."""
        return {
            node.name: _work(node, self.shapes)
            for node in self._model.graph.node
            if node.op_type in HEAVY_OPS
        }


def _work(node: NodeProto, shapes: Mapping[str, Shape]) -> int | None:
    """Count the multiplications of a node; None where a shape is unknown."""
    x, weight, *others = (shapes.get(name) for name in node.input)
    out = shapes.get(node.output[0])
    if x is None or weight is None:
        return None
    if node.op_type.endswith(RECURRENT_OPS):  # x is (time, batch, values)
        state = others[0] if others else None
        return None if state is None else x[0] * x[1] * (prod(weight) + prod(state))
    if node.op_type == "ConvTranspose":
        return prod(x) * prod(weight[1:])
    if out is None:
        return None
    if "Conv" in node.op_type:  # the weight is (out, in, ...)
        return prod(out) * prod(weight[1:])
    is_transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return prod(out) * (x[0] if is_transposed else x[-1])

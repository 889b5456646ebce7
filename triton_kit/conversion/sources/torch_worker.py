"""The worker that has torch: exports a module, or runs it."""

from __future__ import annotations

import inspect
import logging
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from triton_kit.conversion.workers.samples import read_feed, write_arrays
from triton_kit.conversion.workers.worker import Request

REASON_LINES = 2  # torch goes on with graphs and stacks
Json = Any
Module = Any  # a Module, ScriptModule or ExportedProgram, called alike


class Source:
    """A module and example inputs by name, whatever they were loaded from."""

    def __init__(self, request: Mapping[str, Json]) -> None:
        self.program: Module = None
        self.module: Module = None
        self.inputs: dict[str, torch.Tensor] = {}
        self.is_script = False
        text = request["source"]
        is_file = Path(text).exists()
        if is_file:
            # A file holds data: torch must not unpickle other objects from it.
            os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
        if text.endswith(".pt2"):
            self.program = torch.export.load(text)
            self.module = self.program.module()
            args, kwargs = self.program.example_inputs
            self.inputs = _named(self.module, args) | dict(kwargs)
        elif "made" in request:  # by the user's function
            self.module, inputs = request["made"]
            self.inputs = (
                dict(inputs)
                if isinstance(inputs, Mapping)
                else _named(self.module, inputs)
            )
        else:
            self.is_script = True
            self.module = torch.jit.load(text, map_location="cpu")
            self.inputs = {
                name: torch.zeros(shape) for name, shape in request["shapes"].items()
            }
        if hasattr(self.module, "eval") and self.program is None:
            self.module.eval()

    def export(self, request: Mapping[str, Json]) -> None:
        """Write the ONNX file."""
        varying = {name: request["varying"].get(name, []) for name in self.inputs}
        if self.is_script:
            self._export_script(request, varying)
            return
        inputs = {
            name: _grown(tensor, varying[name]) for name, tensor in self.inputs.items()
        }
        dynamic = torch.export.Dim.DYNAMIC
        shapes = {n: dict.fromkeys(axes, dynamic) for n, axes in varying.items()}
        exported = torch.onnx.export(
            self.program or self.module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=self._output_names(inputs),
            dynamic_shapes=None if self.program else tuple(shapes.values()),
            opset_version=request["opset"],
            dynamo=True,
            verbose=False,
        )
        if exported is None:
            raise RuntimeError("torch.onnx.export gave nothing")
        exported.save(request["onnx"], external_data=False)

    def _export_script(
        self, request: Mapping[str, Json], varying: Mapping[str, list[int]]
    ) -> None:
        """TorchScript goes by the old exporter; the new one does not take it."""
        axes = {
            name: {axis: f"{name}_{axis}" for axis in found}
            for name, found in varying.items()
        }
        torch.onnx.export(
            self.module,
            tuple(self.inputs.values()),
            request["onnx"],
            input_names=list(self.inputs),
            output_names=self._output_names(self.inputs),
            dynamic_axes=axes,
            opset_version=min(request["opset"], 17),
            dynamo=False,
        )

    def _output_names(self, inputs: Mapping[str, torch.Tensor]) -> list[str]:
        """Return names for the outputs: the module's own, the keys of what it returns.

        Others are numbered: the exporter would name them after its own nodes.
        """
        if given := getattr(self.module, "output_names", None):
            return [str(name) for name in given]
        with torch.no_grad():
            found = _paths(self.module(*inputs.values()))
        names = [name or f"output_{index}" for index, name in enumerate(found)]
        return [f"{name}_out" if name in inputs else name for name in names]

    def run(self, request: Mapping[str, Json]) -> int:
        """Run every feed; return the number of outputs."""
        count = 0
        for index, path in enumerate(request["feeds"]):
            feed = read_feed(Path(path), request["names"])
            tensors = [torch.from_numpy(feed[name]) for name in request["inputs"]]
            with torch.no_grad():
                returned = self.module(*tensors)
            arrays = [tensor.numpy() for tensor in _flat(returned)]
            write_arrays(Path(request["folder"]) / f"output_{index}.npz", arrays)
            count = len(arrays)
        return count


def _named(module: Module, inputs: Any) -> dict[str, torch.Tensor]:  # noqa: ANN401
    tensors = [inputs] if isinstance(inputs, torch.Tensor) else list(inputs)
    names = list(inspect.signature(module.forward).parameters)
    return dict(zip(names, tensors, strict=False))


def _grown(tensor: torch.Tensor, axes: list[int]) -> torch.Tensor:
    """Make sizes of one two: torch.export takes a size of one for a constant."""
    for axis in axes:
        if tensor.shape[axis] == 1:
            tensor = torch.cat([tensor, tensor], dim=axis)
    return tensor


def _flat(returned: Any) -> list[torch.Tensor]:  # noqa: ANN401  what a module returns
    if isinstance(returned, torch.Tensor):
        return [returned]
    values = returned.values() if isinstance(returned, Mapping) else returned
    return [tensor for value in values for tensor in _flat(value)]


def _paths(returned: Any, path: str = "") -> list[str]:  # noqa: ANN401
    """Return the keys that lead to each tensor of what a module returns."""
    if isinstance(returned, torch.Tensor):
        return [path]
    names = getattr(returned, "_fields", None)
    if isinstance(returned, Mapping):
        names = returned.keys()
        returned = returned.values()
    if names is None:
        names = range(len(returned)) if path else [""] * len(returned)
    keys = list(map(str, names))
    return [
        name
        for key, value in zip(keys, returned, strict=True)
        for name in _paths(value, "_".join(filter(None, (path, key))))
    ]


def work(request: Request) -> dict[str, int]:
    """Export a module, or run it."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    try:
        source = Source(request)
        if request["what"] == "export":
            source.export(request)
            return {}
        return {"outputs": source.run(request)}
    except Exception as error:  # of torch, by any class; it goes on with graphs
        lines = [line for line in str(error).splitlines() if line.strip()]
        sys.exit(f"{type(error).__name__}: {' '.join(lines[:REASON_LINES])}")

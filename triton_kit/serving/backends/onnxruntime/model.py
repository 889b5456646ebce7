"""Triton's `onnxruntime` backend, in Python: the same config.pbtxt as the one in C++.

It runs inside Triton's Python backend, on servers that carry no C++ onnxruntime
backend. What the C++ backend fills in, refuses and accepts, this one does too, so that
a repository that loads here loads in the container.
"""

import json
from pathlib import Path

import triton_python_backend_utils as pb_utils
from onnxruntime_batch import Batch
from onnxruntime_config import complete, mismatches, not_supported
from onnxruntime_graph import artifact_in, open_graph
from onnxruntime_one import one_to_one
from onnxruntime_tensors import RefusedError, reader_of, writer_of


class TritonPythonModel:
    """One instance of a model; Triton starts a process for each."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config):
        """Fill in what the config leaves out, from the graph.

        A config with inputs and outputs is taken as it is, also its max_batch_size
        of 0: so does the C++ backend, and the graph need not be read.
        """
        config = auto_complete_model_config.as_dict()
        if not (config["input"] and config["output"]):
            artifact = artifact_in(_version_folder_of_this_process(), config)
            try:
                complete(config, open_graph(artifact, config, optimize=False))
            except (OSError, ValueError) as error:
                raise pb_utils.TritonModelException(str(error)) from error
        return auto_complete_model_config

    def initialize(self, args):
        """Open the graph on this instance's device, and hold it against the config."""
        config = json.loads(args["model_config"])
        version_folder = Path(args["model_repository"]) / args["model_version"]
        device = None
        if args["model_instance_kind"] == "GPU":
            device = int(args["model_instance_device_id"])
        try:
            self._graph = open_graph(
                artifact_in(version_folder, config), config, device=device
            )
        except (OSError, ValueError) as error:
            raise pb_utils.TritonModelException(str(error)) from error
        wrong = [*not_supported(config, self._graph), *mismatches(config, self._graph)]
        if wrong:
            raise pb_utils.TritonModelException("; ".join(wrong))
        for warning in self._graph.warnings:
            pb_utils.Logger.log_warn(f"{args['model_name']}: {warning}")
        self._one_to_one = one_to_one(self._graph, config)
        self._batched = config["max_batch_size"] > 0
        self._readers = {
            name: reader_of(tensor.data_type)
            for name, tensor in self._graph.feeds.items()
        }
        self._writers = {
            name: writer_of(name, tensor.data_type)
            for name, tensor in self._graph.outputs.items()
        }
        # A tensor without axes has one axis of size 1 in a config.
        self._scalars = {
            output["name"]: output["dims"]
            for output in config["output"]
            if not self._graph.outputs[output["name"]].shape
        }

    def execute(self, requests):
        """Run all requests, in as few runs as their shapes allow."""
        if self._one_to_one and (done := self._one_to_one.run(requests)):
            return done
        results: list = [None] * len(requests)
        batch = Batch(self._graph, batched=self._batched)
        for place, request in enumerate(requests):
            try:
                batch.add(place, self._feeds(request), request.requested_output_names())
            except RefusedError as error:
                results[place] = error
        for place, result in batch.run():
            results[place] = result
        return [self._response(result) for result in results]

    def _feeds(self, request):
        readers, feeds = self._readers, {}
        for tensor in request.inputs():
            name = tensor.name()
            if name in readers:
                feeds[name] = readers[name](tensor)
        return feeds

    def _response(self, result):
        if isinstance(result, RefusedError):
            error = pb_utils.TritonError(str(result), pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(error=error)
        if self._scalars:
            result = {
                name: value.reshape(self._scalars.get(name, value.shape))
                for name, value in result.items()
            }
        writers = self._writers
        return pb_utils.InferenceResponse(
            [writers[name](value) for name, value in result.items()]
        )


def _version_folder_of_this_process() -> Path:
    # Triton tells a model its folder only after the config is complete; until then
    # the one place that has it is the command line of this process (2.51: argument 1).
    argv = Path("/proc/self/cmdline").read_bytes().split(b"\0")
    return Path(argv[1].decode()).parent

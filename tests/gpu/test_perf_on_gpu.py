"""perf has figures of each GPU from the embedded server's metrics."""

import numpy as np
import pytest
from onnx_models import convolve

from triton_kit.loadtest.loops.load import ClosedLoad
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec

pytestmark = pytest.mark.server

CONFIG = """backend: "onnxruntime"
max_batch_size: 16
instance_group { count: 1 kind: KIND_GPU }
"""


def test_each_gpu_has_its_use_and_its_energy(tmp_path):
    (tmp_path / "convolve" / "1").mkdir(parents=True)
    (tmp_path / "convolve" / "1" / "model.onnx").write_bytes(convolve())
    (tmp_path / "convolve" / "config.pbtxt").write_text(CONFIG)
    with running(
        ServeSpec(repository=tmp_path, onnxruntime_backend="native")
    ) as server:
        result = measure(
            PerfSpec(
                url=server.grpc_url,
                protocol="grpc",
                model="convolve",
                loads=(ClosedLoad(8),),
                measurement_interval_s=3,
                samples={"x": np.ones((1, 3, 8, 8), np.float32)},
                metrics_url=server.metrics_url,
            )
        )

    [run] = result.runs
    assert run.gpus
    for gpu in run.gpus:
        assert gpu.gpu.startswith("GPU-")
        assert 0 <= gpu.utilization <= 1
        assert 0 < gpu.memory_used_bytes < gpu.memory_total_bytes
        assert gpu.power_w > 0
    assert sum(gpu.energy_per_inference_j for gpu in run.gpus) > 0
    assert result.model["backend_kind"] == "native"

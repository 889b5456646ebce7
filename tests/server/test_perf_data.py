import json

import numpy as np
import pytest

from triton_kit.perf.measure import measure
from triton_kit.perf.spec import ClosedLoad, PerfSpec

pytestmark = pytest.mark.server


def mlp(x):
    """What the model `mlp` answers, computed here."""
    generator = np.random.default_rng(0)
    first = generator.standard_normal((16, 32), dtype=np.float32)
    second = generator.standard_normal((32, 4), dtype=np.float32)
    return np.maximum(x @ first, 0) @ second


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_wrong_answers_are_told_from_right_ones(loaded, tmp_path, protocol, batch_size):
    x = np.random.default_rng(5).random((8, 16)).astype(np.float32)
    y = mlp(x)
    y[3] += 1
    path = tmp_path / "data.json"
    path.write_text(
        json.dumps(
            {
                "data": [{"x": row.tolist()} for row in x],
                "validation_data": [{"y": row.tolist()} for row in y],
            }
        )
    )

    result = measure(
        PerfSpec(
            url=loaded.grpc_url if protocol == "grpc" else loaded.http_url,
            protocol=protocol,
            model="mlp",
            loads=(ClosedLoad(3),),
            input_data=str(path),
            batch_size=batch_size,
            request_count=80,
            warm_up_s=0,
        )
    )
    run = result.runs[0]

    assert run.recording.errors["wrong answer"].count == 10 * batch_size
    assert run.answered == 80 - 10 * batch_size


def test_zeros_are_sent_to_a_model_that_varies(loaded):
    result = measure(
        PerfSpec(
            url=loaded.http_url,
            model="varying",
            input_data="zero",
            shapes={"x": (3,)},
            request_count=5,
            warm_up_s=0,
        )
    )

    assert result.runs[0].errors == 0

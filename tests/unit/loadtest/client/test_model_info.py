"""What a server says of a model's backend."""

import pytest

from triton_kit.triton.json_fields import Fields
from triton_kit.triton.model import model_info


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        # As tritonserver 2.51 reports them.
        ({"backend": "onnxruntime", "runtime": ""}, "native"),
        ({"backend": "onnxruntime", "runtime": "model.py"}, "python"),
        ({"backend": "python", "runtime": ""}, "python"),
        ({"backend": "", "platform": "ensemble"}, ""),
        ({}, ""),
    ],
)
def test_a_backend_in_python_is_told_from_a_native_one(config, kind):
    model = model_info(Fields({"name": "m"} | config, "a server"), version="1")

    assert (model.backend, model.backend_kind) == (config.get("backend", ""), kind)

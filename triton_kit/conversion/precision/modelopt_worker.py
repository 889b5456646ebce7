"""The worker of `modelopt`: needs no kit in its Python, so imports none of it."""

from typing import Any

import numpy as np


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Quantize as the request says."""
    from modelopt.onnx.quantization import quantize

    with np.load(request["samples"], allow_pickle=False) as file:
        samples = {
            name: file[key]
            for name, key in zip(request["names"], file.files, strict=True)
        }
    quantize(
        request["model"],
        quantize_mode=request["to"],
        calibration_data=samples,
        calibration_method=request["method"],
        calibration_shapes=request["shapes"],
        calibration_eps=["cpu"],
        nodes_to_exclude=request["skip"],
        high_precision_dtype=request["rest"],
        output_path=request["quantized"],
    )
    return {}

"""The child of `modelopt`: needs no kit in its Python, so imports none of it."""

import json
import sys

import numpy as np


def main() -> None:
    """Quantise as the order on stdin says."""
    order = json.load(sys.stdin)
    from modelopt.onnx.quantization import quantize

    with np.load(order["samples"], allow_pickle=False) as file:
        samples = {
            name: file[key]
            for name, key in zip(order["names"], file.files, strict=True)
        }
    quantize(
        order["model"],
        quantize_mode=order["to"],
        calibration_data=samples,
        calibration_method=order["method"],
        calibration_shapes=order["shapes"],
        calibration_eps=["cpu"],
        nodes_to_exclude=order["skip"],
        high_precision_dtype=order["rest"],
        output_path=order["quantized"],
    )


if __name__ == "__main__":
    main()

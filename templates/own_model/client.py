"""Send one sample to the model: `python client.py [SAMPLE.npz] [--url ...]`.

An array of the file has one row per sample; the first one is sent.
"""

import argparse
from pathlib import Path

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput

MODEL = "$model"
HERE = Path(__file__).parent


def main() -> None:
    """Send the sample, print each output."""
    parser = argparse.ArgumentParser(description=__doc__)
    sample = HERE / "samples" / "sample.npz"
    parser.add_argument("sample", nargs="?", type=Path, default=sample)
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    arrays = np.load(options.sample)
    client = InferenceServerClient(options.url)
    request = []
    for tensor in client.get_model_metadata(MODEL)["inputs"]:
        values = arrays[tensor["name"]][:1]
        if values.ndim > len(tensor["shape"]):  # the model has no batch axis
            values = values[0]
        if tensor["datatype"] == "BYTES":
            values = values.astype(object)
        entry = InferInput(tensor["name"], values.shape, tensor["datatype"])
        request.append(entry.set_data_from_numpy(values))
    response = client.infer(MODEL, request)
    for output in response.get_response()["outputs"]:
        print(output["name"], output["datatype"], output["shape"])
        print(response.as_numpy(output["name"]))


if __name__ == "__main__":
    main()

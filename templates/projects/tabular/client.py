"""Score a patient: `python client.py bmi=34.5 sex=m [--url ...]`."""

import argparse

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput

TYPES = {
    "age": ("INT64", np.int64),
    "sex": ("BYTES", object),
    "bmi": ("FP32", np.float32),
    "pressure": ("FP32", np.float32),
    "triglycerides": ("FP32", np.float32),
    "glucose": ("FP32", np.float32),
}
PATIENT = {
    "age": "59",
    "sex": "m",
    "bmi": "32.1",
    "pressure": "101",
    "triglycerides": "4.86",
    "glucose": "87",
}


def main() -> None:
    """Send one row, print the risk and its reasons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("columns", nargs="*", metavar="NAME=VALUE")
    parser.add_argument("--url", default="127.0.0.1:8000")
    options = parser.parse_args()
    row = PATIENT | dict(column.split("=", 1) for column in options.columns)
    request = []
    for name, text in row.items():
        datatype, dtype = TYPES[name]
        values = np.array([[text]]).astype(dtype)
        tensor = InferInput(name, [1, 1], datatype)
        request.append(tensor.set_data_from_numpy(values))
    response = InferenceServerClient(options.url).infer("score", request)
    print(f"risk {response.as_numpy('probabilities')[0, 1]:.2f}")
    for reason in response.as_numpy("reasons")[0]:
        print(f"  {reason.decode()}")


if __name__ == "__main__":
    main()

"""A small repository that the tests in here move about."""

import pytest


@pytest.fixture
def repository(tmp_path):
    """Two models and an ensemble with an empty version folder."""
    root = tmp_path / "repository"
    for name, content in {
        "digits/config.pbtxt": b'backend: "onnxruntime"\n',
        "digits/1/model.onnx": b"\x08\x0a" * 1000,
        "stub/1/model.py": b"class TritonPythonModel: ...\n",
        "stub/triton_python_backend_stub": b"\x7fELF",
        "both/config.pbtxt": b'platform: "ensemble"\n',
        "caf\u00e9/1/weights.bin": b"",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "stub/triton_python_backend_stub").chmod(0o755)
    (root / "both/1").mkdir()
    return root

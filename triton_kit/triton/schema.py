"""Triton's ModelConfig message: the one place that tells where it comes from."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

_NAME = "tritonclient.grpc.model_config_pb2"


def _load_messages() -> ModuleType:
    """Load the module of the messages without its package.

    The package imports gRPC, which takes half a second that only clients need. The
    module is registered under its name, so that the package finds this one later.
    """
    if _NAME in sys.modules:
        return sys.modules[_NAME]
    package = find_spec("tritonclient")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError(_NAME, name=_NAME)
    folder = Path(next(iter(package.submodule_search_locations)))
    spec = spec_from_file_location(_NAME, folder / "grpc" / "model_config_pb2.py")
    assert spec is not None  # the name ends in .py
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[_NAME] = module
    spec.loader.exec_module(module)
    return module


# Protobuf ships no types, so these are `Any` to the type checker.
Message = Any
FieldType = Any
Value = Any

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import DataType as DataType
    from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfig
    from tritonclient.grpc.model_config_pb2 import ModelInput as ModelInput
else:
    _messages = _load_messages()
    DataType = _messages.DataType
    ModelConfig = _messages.ModelConfig
    ModelInput = _messages.ModelInput

DESCRIPTOR: Any = ModelConfig.DESCRIPTOR
DATA_TYPES: Any = DataType

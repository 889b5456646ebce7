"""Triton's ModelConfig message; other modules import it from here."""

from __future__ import annotations

from typing import Any

from tritonclient.grpc import model_config_pb2

# Protobuf ships no types, so these are `Any` to the type checker.
Message = Any
FieldType = Any
Value = Any

ModelConfig: Any = model_config_pb2.ModelConfig
DESCRIPTOR: Any = ModelConfig.DESCRIPTOR
DATA_TYPES: Any = model_config_pb2.DataType

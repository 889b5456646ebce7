"""Triton's control API over gRPC, on the same transport as the load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from tritonclient.grpc import service_pb2

from triton_kit.errors import ServerError, TransportError
from triton_kit.loadtest.client.grpc_call import call_headers
from triton_kit.loadtest.client.single_call import call_once
from triton_kit.loadtest.http.grpc_status import framed, message_of
from triton_kit.loadtest.net.http2_transport import Http2Transport
from triton_kit.loadtest.request import Request
from triton_kit.triton.address import Address
from triton_kit.triton.json_fields import Fields
from triton_kit.triton.model import (
    IndexEntry,
    ModelInfo,
    ServerInfo,
    explain_absence,
    index_entries,
    model_from_metadata,
    model_info,
)
from triton_kit.triton.refusals import NotServerError

_WITHIN_S = 10.0
_Response = TypeVar("_Response", bound=Message)


class _CallFailedError(Exception):
    """The server reported an error."""


class GrpcControl:
    """Asks the server questions over gRPC."""

    def __init__(
        self, address: Address, *, headers: Mapping[str, str] | None = None
    ) -> None:
        self._address = address
        self._headers = dict(headers or {})

    def server(self) -> ServerInfo:
        """Return what server this is; raises as `Control.server`."""
        question = service_pb2.ServerMetadataRequest()
        try:
            response = self._call(
                "ServerMetadata", question, service_pb2.ServerMetadataResponse
            )
        except _CallFailedError as error:
            raise NotServerError(
                f"{self._address} speaks gRPC, but not the KServe v2 protocol: {error}"
            ) from error
        return ServerInfo(
            name=response.name,
            version=response.version,
            extensions=tuple(response.extensions),
        )

    def model(self, name: str, version: str = "") -> ModelInfo:
        """Return how the server describes a model; raises as `Control.model`."""
        which = {"name": name, "version": version}
        ready = service_pb2.ModelReadyRequest(**which)
        if not self._ask("ModelReady", ready, service_pb2.ModelReadyResponse).ready:
            explain_absence(self.index(), name, version)
        try:
            metadata = self._call(
                "ModelMetadata",
                service_pb2.ModelMetadataRequest(**which),
                service_pb2.ModelMetadataResponse,
            )
        except _CallFailedError as error:
            raise ServerError(
                f"the server does not describe model {name!r}: {error}"
            ) from error
        try:
            config = self._call(
                "ModelConfig",
                service_pb2.ModelConfigRequest(**which),
                service_pb2.ModelConfigResponse,
            )
        except _CallFailedError:
            described = _fields(metadata, "ModelMetadata")
            return model_from_metadata(described, name=name, version=version)
        newest = metadata.versions[-1] if metadata.versions else ""
        fields = _fields(config.config, "ModelConfig")
        return model_info(fields, version=version or newest)

    def register_memory(self, name: str, key: str, size: int) -> None:
        """Have the server map shared memory; raises as `Control.register_memory`."""
        region = service_pb2.SystemSharedMemoryRegisterRequest(
            name=name, key=key, byte_size=size
        )
        self._register("SystemSharedMemoryRegister", region)

    def unregister_memory(self, name: str) -> None:
        """Have the server let go of it."""
        self._ask(
            "SystemSharedMemoryUnregister",
            service_pb2.SystemSharedMemoryUnregisterRequest(name=name),
            service_pb2.SystemSharedMemoryUnregisterResponse,
        )

    def register_cuda_memory(
        self, name: str, handle: bytes, device: int, size: int
    ) -> None:
        """Have the server open GPU memory; raises as `Control.register_cuda_memory`."""
        region = service_pb2.CudaSharedMemoryRegisterRequest(
            name=name, raw_handle=handle, device_id=device, byte_size=size
        )
        self._register("CudaSharedMemoryRegister", region)

    def unregister_cuda_memory(self, name: str) -> None:
        """Have the server let go of it."""
        self._ask(
            "CudaSharedMemoryUnregister",
            service_pb2.CudaSharedMemoryUnregisterRequest(name=name),
            service_pb2.CudaSharedMemoryUnregisterResponse,
        )

    def _register(self, method: str, region: Message) -> None:
        response = getattr(service_pb2, f"{method}Response")
        try:
            self._call(method, region, response)
        except _CallFailedError as error:
            raise ServerError(str(error)) from error

    def index(self) -> tuple[IndexEntry, ...]:
        """Return every model that the server knows, loaded or not."""
        index = self._ask(
            "RepositoryIndex",
            service_pb2.RepositoryIndexRequest(),
            service_pb2.RepositoryIndexResponse,
        )
        return index_entries(_fields(index, "RepositoryIndex").objects("models"))

    def statistics(self, name: str, version: str = "") -> list[dict[str, Any]]:
        """Return the server's own counters, one entry per loaded version."""
        question = service_pb2.ModelStatisticsRequest(name=name, version=version)
        response = self._ask(
            "ModelStatistics", question, service_pb2.ModelStatisticsResponse
        )
        counters = _fields(response, "ModelStatistics").objects("model_stats")
        return [entry.as_json for entry in counters]

    def _ask(
        self, method: str, question: Message, response: type[_Response]
    ) -> _Response:
        """Call; an error of the server is an empty response."""
        try:
            return self._call(method, question, response)
        except _CallFailedError:
            nothing: _Response = response()
            return nothing

    def _call(
        self, method: str, question: Message, response: type[_Response]
    ) -> _Response:
        headers = call_headers(self._address, method, self._headers)
        request = Request(framed(question.SerializeToString()), headers=headers)
        once = call_once(
            lambda reactor: Http2Transport(reactor, self._address, keep_responses=True),
            request,
            within_s=_WITHIN_S,
        )
        if not once.is_done:
            raise TransportError(
                f"{self._address} did not respond within {_WITHIN_S:g} s"
            )
        if once.failure is not None:
            reason = f"{once.failure.kind}: {once.failure.detail}"
            if once.failure.kind.startswith("gRPC "):
                raise _CallFailedError(reason)
            raise TransportError(
                f"{self._address} sent no gRPC response to {method}: {reason}",
                hint="a gateway may route gRPC by name: -H 'Host: NAME'",
            )
        try:
            message: _Response = response.FromString(message_of(once.response))
        except (DecodeError, ValueError) as error:
            raise TransportError(
                f"{self._address}: {method} returned a message that cannot be read: "
                f"{error}"
            ) from error
        return message


def _fields(message: Message, method: str) -> Fields:
    """Return a message as JSON, with the field names that Triton's own JSON has."""
    return Fields(MessageToDict(message, preserving_proto_field_name=True), method)

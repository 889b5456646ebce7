"""A server that behaves badly on purpose: `hostile_server.py BEHAVIOUR` prints a port.

Its behaviours over HTTP begin with `http_`, those over gRPC with `grpc_`.
"""

import itertools
import json
import socket
import struct
import sys
import threading
import time
from contextlib import suppress

CHUNK = bytes(1 << 20)
SERVER = {"name": "triton", "version": "1"}
TENSOR = {"name": "x", "data_type": "TYPE_FP32", "dims": [4]}
MODEL = {"name": "m", "max_batch_size": 0, "input": [TENSOR], "output": [TENSOR]}
METADATA = {"name": "m", "versions": ["1"]}


def http_response(value):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def forever(connection, piece, *, head=b"", pause_s=0.0):
    connection.sendall(head)
    while True:
        connection.sendall(piece)
        time.sleep(pause_s)


def http(**responses):
    """Serve a good server's JSON, but for the paths that `responses` replaces."""
    good = {"server": SERVER, "config": MODEL, "metadata": METADATA, "stats": {}}

    def script(connection):
        while data := connection.recv(65536):
            path = data.split(b" ")[1].decode()
            what = {
                "/v2": "server",
                "/v2/models/m": "metadata",
                "/v2/models/m/config": "config",
                "/v2/models/m/stats": "stats",
                "/v2/models/m/infer": "infer",
            }.get(path, "other")
            response = (good | responses).get(what, {})
            if callable(response):
                response(connection)
            else:
                connection.sendall(http_response(response))

    return script


def chunked_without_end(connection):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    forever(connection, b"100000\r\n" + CHUNK + b"\r\n", head=head)


def long_body(connection):
    forever(
        connection, CHUNK, head=b"HTTP/1.1 200 OK\r\nContent-Length: 9%011d\r\n\r\n" % 0
    )


def drip(connection):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    forever(connection, b" ", head=head, pause_s=2.0)


def config(**fields):
    return MODEL | fields


def tensor(**fields):
    return config(input=[TENSOR | fields])


HTTP = {
    "http_endless_chunks": http(server=chunked_without_end),
    "http_endless_body": http(server=long_body),
    "http_one_byte_in_two_seconds": http(server=drip),
    "http_endless_head": http(
        server=lambda c: forever(
            c, b"HTTP/1.1 200 OK\r\nx: y\r\n" + b"a: b\r\n" * 10_000
        )
    ),
    "http_endless_interim_responses": http(
        server=lambda c: forever(c, b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
    ),
    "http_silence": http(server=lambda c: time.sleep(600)),
    "http_hangs_up": http(server=lambda c: c.close()),
    "http_other_bytes": http(server=lambda c: c.sendall(b"\x00\xff" * 500)),
    "http_number_as_server": http(server=b"5"),
    "http_null_as_server": http(server=b"null"),
    "http_deep_nesting": http(server=b"[" * 1_000_000),
    "http_number_as_name": http(server={"name": 5, "version": []}),
    "http_null_as_config": http(config=b"null"),
    "http_list_as_config": http(config=[1]),
    "http_number_as_inputs": http(config=config(input=5)),
    "http_words_as_dims": http(config=tensor(dims=["a"])),
    "http_unknown_data_type": http(config=tensor(data_type="TYPE_FOO")),
    "http_no_tensor_name": http(config=tensor(name=None)),
    "http_huge_batch_size": http(config=config(max_batch_size=10**30)),
    "http_object_as_versions": http(metadata={"versions": {"1": 1}}),
    "http_millions_of_lists": http(config=b"[" + b"[]," * 5_000_000),
}


def frame(frame_type, flags, stream_id, payload):
    size = len(payload).to_bytes(3, "big")
    return size + struct.pack(">BBL", frame_type, flags, stream_id) + payload


def field(name, value):
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


HEADERS = frame(1, 4, 1, field(b":status", b"200"))
SETTINGS = frame(4, 0, 0, b"")


def grpc(piece, *, pause_s=0.0, opening=SETTINGS, head=HEADERS):
    """Open the connection as HTTP/2 does, then repeat a piece for ever."""

    def script(connection):
        connection.sendall(opening)
        connection.recv(65536)
        time.sleep(0.1)  # until the client's request is here
        forever(connection, piece, head=head, pause_s=pause_s)

    return script


LARGE = frame(0, 0, 1, bytes(16_384))
GRPC = {
    "grpc_silence": lambda c: time.sleep(600),
    "grpc_http_1": lambda c: c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "grpc_one_byte_in_two_seconds": grpc(b"\x00", opening=b"", head=b"", pause_s=2.0),
    "grpc_no_response": grpc(b"", pause_s=1.0),
    "grpc_message_of_4_gib": grpc(
        LARGE, head=HEADERS + frame(0, 0, 1, b"\0\xff\xff\xff\xff")
    ),
    "grpc_empty_data_frames": grpc(frame(0, 0, 1, b"") * 1000),
    "grpc_padding_alone": grpc(frame(0, 8, 1, b"\xff" + bytes(255)) * 1000),
    "grpc_pings_without_reading": grpc(frame(6, 0, 0, bytes(8)) * 1000),
    "grpc_settings_without_reading": grpc(SETTINGS * 1000),
    "grpc_endless_field_block": grpc(
        frame(9, 0, 1, bytes(1000)), head=frame(1, 0, 1, b"")
    ),
    "grpc_empty_continuations": grpc(
        frame(9, 0, 1, b"") * 1000, head=frame(1, 0, 1, b"")
    ),
    "grpc_not_a_message": grpc(frame(0, 0, 1, b"<html>" * 100)),
    "grpc_resets": grpc(b"", head=frame(3, 0, 1, struct.pack(">L", 2)), pause_s=1.0),
    "grpc_goaway_at_once": grpc(b"", head=frame(7, 0, 0, bytes(8)), pause_s=1.0),
    "grpc_frame_too_large": grpc(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + CHUNK),
    "grpc_window_overflow": grpc(frame(8, 0, 0, b"\x7f\xff\xff\xff") * 10),
}
# Good answers to every question, and a response to a request that does not end.
INFER = {
    "infer_endless_chunks": http(infer=chunked_without_end),
    "infer_endless_body": http(infer=long_body),
}
BEHAVIOURS = HTTP | GRPC


def main():
    behaviour = (BEHAVIOURS | INFER)[sys.argv[1]]
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()

    def run(connection):
        with connection, suppress(OSError, IndexError):
            behaviour(connection)

    for _ in itertools.count():
        connection, _ = listener.accept()
        threading.Thread(target=run, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()

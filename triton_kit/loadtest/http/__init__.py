"""Bytes on the wire, read and written: HTTP/1.1, HTTP/2, gRPC, events, tensors."""

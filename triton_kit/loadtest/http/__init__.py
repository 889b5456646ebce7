"""HTTP/1.1, HTTP/2, gRPC and server-sent events, without sockets and without Triton."""

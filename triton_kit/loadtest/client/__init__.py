"""What Triton can be asked in: HTTP, gRPC, streams, generate, shared memory."""

"""The KServe v2 client: requests, responses, control API, shared memory."""

"""Two results of `perf`: what differs, how surely, and whether that is allowed."""

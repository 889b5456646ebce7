"""TensorRT plans and RTX engines: options, builds, and those built elsewhere."""

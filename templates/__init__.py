"""What the kit renders and scaffolds: data, read through `importlib.resources`."""

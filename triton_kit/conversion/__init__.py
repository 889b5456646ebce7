"""A model becomes an artifact that Triton can load."""

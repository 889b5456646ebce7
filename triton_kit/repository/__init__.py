"""Artifacts become a Triton model repository."""

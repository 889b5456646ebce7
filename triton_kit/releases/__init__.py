"""Triton releases as data: what each one carries."""

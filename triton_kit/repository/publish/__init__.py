"""Versions appear in a repository whole, with the manifest of what they are."""

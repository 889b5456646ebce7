"""A model repository becomes endpoints."""

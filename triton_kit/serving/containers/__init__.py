"""A model repository becomes endpoints of a container."""

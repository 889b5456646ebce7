"""Connections that send a request; `base` is the protocol they share."""

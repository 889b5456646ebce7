"""Sockets, TLS, the event loop, the clock, and transports that carry requests."""

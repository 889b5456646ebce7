"""Repositories between machines: object stores, archives, signatures."""

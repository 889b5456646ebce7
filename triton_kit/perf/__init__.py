"""Endpoints become numbers."""

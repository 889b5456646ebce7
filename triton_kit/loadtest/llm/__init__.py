"""Prompts become requests to a language model; sessions become conversations."""

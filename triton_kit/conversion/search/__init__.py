"""Candidates of an artifact are made and verified; one of them is chosen."""

"""Candidates for an artifact: rewritten, tried, and chosen by the accuracy gate."""

"""Precision lives in the graph: passes that lower, quantise and prune."""

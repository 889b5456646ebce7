"""A page for a repository and its results, on this machine only."""

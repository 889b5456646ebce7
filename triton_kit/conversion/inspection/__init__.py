"""What a file says of itself, and where the time of a model goes."""

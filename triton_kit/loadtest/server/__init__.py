"""What the server says of itself: its models, its counters, its metrics."""

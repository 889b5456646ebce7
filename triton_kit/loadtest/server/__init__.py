"""What the server says of itself: whether it is ready, and its models."""

"""Ways to send a request; `base` is the protocol they share."""

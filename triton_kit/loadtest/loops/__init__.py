"""How many requests, and when; the loops that send them over a transport."""

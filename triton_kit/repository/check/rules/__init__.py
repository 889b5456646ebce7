"""The server's rules, a family a file; each in the server's order and words."""

"""What goes into the requests: drawn at random or read from files."""

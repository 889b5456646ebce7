"""A repository and a server's description become files that start it elsewhere."""

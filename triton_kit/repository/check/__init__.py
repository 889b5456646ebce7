"""A repository becomes the server's verdict, without a server."""

"""What sends the requests: loops over a transport, in one process or several."""

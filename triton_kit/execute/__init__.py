"""Work beyond this process: in local processes, or on the nodes of a Ray cluster."""

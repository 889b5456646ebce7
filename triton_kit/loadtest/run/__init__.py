"""One load, a sweep of loads, in one process or several; the entry is `measure`."""

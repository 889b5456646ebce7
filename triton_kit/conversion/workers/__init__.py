"""Models run in child processes, because the libraries can end their process."""

"""What is recorded during a load: times, windows, CPU, the server's counters."""

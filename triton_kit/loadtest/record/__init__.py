"""What is noted while a load runs: times, windows, whose CPU it took."""

"""What load is: how many requests at once, or when each is due."""

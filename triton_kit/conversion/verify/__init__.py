"""How far an artifact's outputs are from its original's, and which nodes lose most."""

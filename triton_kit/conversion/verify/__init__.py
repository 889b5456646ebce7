"""How far an artifact's answers are from its original's, and which nodes cost it."""

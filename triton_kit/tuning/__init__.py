"""A served model into the settings that serve it best, and proof of the gain."""

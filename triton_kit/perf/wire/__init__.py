"""Request bytes, made before the clock starts."""

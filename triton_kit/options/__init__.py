"""Settings, each declared once: flag, YAML field, script and reference follow."""

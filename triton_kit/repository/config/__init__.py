"""config.pbtxt and its JSON: read with the place of every field, written, formatted."""

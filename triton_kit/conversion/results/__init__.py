"""What came of a conversion: the manifest beside an artifact, and the cache."""

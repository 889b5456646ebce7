"""What is known of a model becomes its ModelConfig, and the files that it names."""

"""Letters to people, sent through the relay itself."""

"""One-time links: whoever opens one has shown something, once."""

"""Programs of the project's own: benches, generated pages, locks. Not installed."""

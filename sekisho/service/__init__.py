"""The processes: configuration, supervisor, workers, wiring."""

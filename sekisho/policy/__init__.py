"""May this go out? Pure decisions."""

"""Out to the world."""

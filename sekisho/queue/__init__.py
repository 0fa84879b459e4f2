"""The joint between accepting and delivering: what exists and what is due."""

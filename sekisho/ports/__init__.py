"""The real seams to the outside: each file holds a Protocol and its one real implementation."""

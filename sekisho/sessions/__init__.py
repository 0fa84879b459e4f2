"""Sessions of people who log in, kept by the server."""

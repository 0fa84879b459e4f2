"""From a stored message and one recipient to the bytes that go out."""

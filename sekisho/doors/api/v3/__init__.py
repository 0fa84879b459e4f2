"""One thin module per resource: decode, call one action, encode."""

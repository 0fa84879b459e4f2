"""Who may send and sign as which domain."""

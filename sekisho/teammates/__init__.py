"""People invited to an account, and what each may do."""

"""Second factors: what a person shows beside the password."""

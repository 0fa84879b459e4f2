"""The tenants: accounts and their subusers."""

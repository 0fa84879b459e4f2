"""The dashboard: pages for people, rendered at the server. Another vocabulary; no decision is made here."""

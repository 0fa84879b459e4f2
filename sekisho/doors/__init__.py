"""Other people's vocabularies; no decision is made here."""

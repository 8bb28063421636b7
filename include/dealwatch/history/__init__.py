"""Remember: land raw records, keep the append-only ledger, tell deals as known at a moment."""

"""A warehouse that somebody else fills from the CRM, read by SQL."""

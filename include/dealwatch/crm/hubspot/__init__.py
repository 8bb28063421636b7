"""HubSpot, listed in full every night."""

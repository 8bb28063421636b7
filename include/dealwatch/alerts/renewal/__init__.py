"""A month's new model: trained, compared, and put before a person."""

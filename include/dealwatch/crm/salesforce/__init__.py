"""Salesforce, read by its Bulk and REST APIs."""

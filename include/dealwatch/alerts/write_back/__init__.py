"""Scores into the CRM's own fields: what each deal's are to hold, what they were told, and the carrying."""

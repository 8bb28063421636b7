"""What a rule has earned: its record by replay against comparable deals."""

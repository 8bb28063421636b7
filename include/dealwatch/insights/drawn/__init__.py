"""What each picture of a review shows, and how it is drawn."""

"""What is worth noticing about a deal: rules, their files, and the signals of a morning."""

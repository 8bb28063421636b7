"""Alerts as they live: runs of signals folded into episodes, with people's answers."""

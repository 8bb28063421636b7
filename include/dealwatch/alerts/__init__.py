"""Speak up: rules, signals, episodes, routing, evidence; every silence has a reason."""

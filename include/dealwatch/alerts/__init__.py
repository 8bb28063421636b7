"""Speak up: rules, episodes, evidence, speaking, hindsight, in this order; every silence has a reason."""

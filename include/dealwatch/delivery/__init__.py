"""Carry: messages as data, the outbox, one file per channel."""

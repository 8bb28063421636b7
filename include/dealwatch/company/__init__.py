"""Make up: a demo company whose truth is known, written as file drops."""

"""Explain: what the pipeline did, how sure that is, and where it comes from; as known at a moment."""

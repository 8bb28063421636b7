"""Ids that follow from what they name, so that working a day out again writes the same rows."""

import hashlib


def digest(*parts: str) -> str:
    """A name that no other parts have: their lengths are in it, so that no two joins are the same."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]

"""Questions about what was or would be said: why, plan and rehearse."""

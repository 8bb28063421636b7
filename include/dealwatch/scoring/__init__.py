"""Judge: facts, norms, the training panel, the forest, its explanation and its versions."""

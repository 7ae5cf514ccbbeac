"""W&B's own methods and early termination: random, grid, bayes, hyperband."""

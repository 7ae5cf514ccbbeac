"""Ray Tune's own searchers and schedulers, hosted without Ray running."""

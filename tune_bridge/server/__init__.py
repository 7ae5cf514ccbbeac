"""HTTP over the local backend: dashboard and its JSON twins."""

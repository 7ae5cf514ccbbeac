"""Notations: a reader and a writer each, found by name through `base.get_dialect`."""

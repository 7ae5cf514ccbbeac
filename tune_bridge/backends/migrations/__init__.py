"""Alembic's scripts for the local backend; `LocalBackend.open` runs them when they are needed."""

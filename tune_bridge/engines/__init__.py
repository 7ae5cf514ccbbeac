"""Engines propose configurations and judge runs."""

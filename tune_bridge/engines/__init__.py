"""Engines: who proposes configurations and judges runs, without a cluster."""

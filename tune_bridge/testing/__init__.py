"""Test verbs, strategies and conformance suites for new dialects and backends."""

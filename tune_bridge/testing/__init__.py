"""Test verbs, strategies and conformance suites for new dialects, engines and backends."""

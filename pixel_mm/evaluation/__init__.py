"""Protocols over train and test, and behaviour suites over finished models."""

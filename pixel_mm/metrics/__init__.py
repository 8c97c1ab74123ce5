"""Metrics by name, as `evaluate.Metric` classes, and the intervals around them."""

"""Metrics: declarations, samples, the registry, and how they are rendered for Prometheus."""

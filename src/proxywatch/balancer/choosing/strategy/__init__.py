"""Strategies: which of the usable candidates serves a request."""

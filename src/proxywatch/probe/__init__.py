"""Probing a proxy: requests through it, what became of them, and what they say about the exit."""

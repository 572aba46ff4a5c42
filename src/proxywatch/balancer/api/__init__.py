"""The HTTP API: what the pool is, what was chosen and why, and what operators may change."""

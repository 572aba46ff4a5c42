"""Dante: what its log, its configuration and its processes mean. Pure: no I/O, no clock."""

"""The only rooms that touch the machine: bytes out, no format known."""

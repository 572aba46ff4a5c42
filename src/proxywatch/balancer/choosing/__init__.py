"""Which node serves a request, and why: pure. Clocks, dice and facts are handed in; nothing here does I/O."""

"""Real servers on loopback for the tests: Dante, an HTTP target, and a SOCKS5 client taken apart."""

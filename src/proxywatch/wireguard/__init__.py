"""WireGuard: devices, peers, and the state of a tunnel. Pure: no I/O, no clock."""

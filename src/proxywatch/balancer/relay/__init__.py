"""The data plane: SOCKS and HTTP proxy clients in, one node of the pool out."""

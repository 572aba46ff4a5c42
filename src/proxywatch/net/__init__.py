"""Sockets: addresses to listen on, limits on connections, TLS."""

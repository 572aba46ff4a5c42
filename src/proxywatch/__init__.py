"""proxywatch: what a client of a VPN-backed SOCKS5 proxy really gets."""

__version__ = "0.1.0"

"""The balancer: one address in front of a pool of VPN-backed proxies."""

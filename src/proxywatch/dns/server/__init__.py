"""Transports on which clients ask."""

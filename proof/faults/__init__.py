"""Faults brought about in a real pod, and what must hold after each of them."""

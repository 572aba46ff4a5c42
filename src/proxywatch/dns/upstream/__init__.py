"""Resolvers that are asked, and the ways to reach them."""

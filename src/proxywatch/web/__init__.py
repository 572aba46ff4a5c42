"""HTTP/1.1 for a few routes and any number of clients, each of which can cost only so much."""

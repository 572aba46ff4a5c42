"""Health on a port of its own: is the process alive, and is what it serves ready?"""

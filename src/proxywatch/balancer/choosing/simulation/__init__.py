"""Simulation: the real brain in a made-up world, beside simpler balancers in the same one."""

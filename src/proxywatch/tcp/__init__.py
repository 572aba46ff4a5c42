"""What the kernel's socket diagnostics say of a proxy's connections, and what that means over time."""

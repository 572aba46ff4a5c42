"""What demonstrations stand up on loopback: a real Dante or a stand-in, a target, clients."""

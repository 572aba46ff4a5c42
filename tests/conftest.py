"""What holds for all tests."""

from hypothesis import settings

# A machine that does something else at the same time makes no property false.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

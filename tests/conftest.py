"""Settings of all tests."""

from hypothesis import settings

# Compilation makes the first example slow; a test must not fail by chance.
settings.register_profile("ours", deadline=None, derandomize=True)
settings.load_profile("ours")

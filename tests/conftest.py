"""What holds of all tests."""

from hypothesis import settings

# A busy machine is slow at times; that is no fault of the code.
settings.register_profile("course", deadline=None)
settings.load_profile("course")

"""Hypothesis without its stopwatch: how long an example takes is no property."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

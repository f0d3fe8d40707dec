"""Time as claims have it: in whole microseconds, as Parquet keeps it."""

from datetime import timedelta

TICK = timedelta(microseconds=1)
"""From a moment to the next: the last one before `end` is `end - TICK`."""

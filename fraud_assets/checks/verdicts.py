"""What checks have to say, in the words that several of them use."""

from __future__ import annotations

import dagster as dg

OF_RUN = "of_run"
"""Metadata of an evaluation, true where it has looked at the partitions of its run alone: it does
not say how all of the zone stands."""


def warned(why: str, **facts: float) -> dg.AssetCheckResult:
    """A person should look; nothing is stopped by it."""
    return dg.AssetCheckResult(
        passed=False, severity=dg.AssetCheckSeverity.WARN, description=why, metadata=facts
    )

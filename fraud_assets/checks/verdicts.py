"""What checks have to say, in the words that several of them use."""

from __future__ import annotations

import dagster as dg


def warned(why: str, **facts: float) -> dg.AssetCheckResult:
    """A person should look; nothing is stopped by it."""
    return dg.AssetCheckResult(
        passed=False, severity=dg.AssetCheckSeverity.WARN, description=why, metadata=facts
    )

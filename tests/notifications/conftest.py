"""A webhook, and settings that point at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from webhook import Webhook, webhook

from fraud_mlops.settings import Settings


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as running:
        yield running


@pytest.fixture
def given(hook: Webhook, tmp_path: Path) -> Callable[..., Settings]:
    """Settings; keywords are environment variables."""

    def make(**variables: str) -> Settings:
        return Settings.model_validate(
            {
                "FRAUD_NOTIFY_URLS": hook.address,
                "FRAUD_NOTIFY_STATE": str(tmp_path / "state" / "told.json"),
            }
            | variables
        )

    return make

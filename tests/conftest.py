"""What holds for every test."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HERE = Path(__file__).parent
LONGEST = (
    "cloud/test_fraud_flow_on_aws.py",
    "flows",
    "stores/test_flow_on_stores.py",
    "spark",
    "dagster_metaflow/test_launch_resume.py",
    "dagster_metaflow/test_kill.py",
    "deployment",
    "ui",
    "jenkins",
    "instance",
    "cloud",
    "fraud_assets/test_everything.py",
    "dagster_metaflow",
    "launch",
)
"""Begun first, one after another: what is left at the end is short, and no core waits for it."""

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

# Two runs at once share the cores: a thread that has nothing to do must not spin on one of them.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # as flows have it

# An agent of a CI server has a lakehouse, a chat room and clouds of its own, and so may a
# developer's shell have. No test reads, writes or tells them.
_OWN = ("FRAUD_", "LAKEHOUSE_", "SNOWFLAKE_", "DATABRICKS_", "METAFLOW_", "DAGSTER_", "BUILD_")
_OWN += ("AWS_", "AZURE_", "DEPLOY", "APPROVED_BY", "SHARED_FOLDERS")
for variable in [name for name in os.environ if name.startswith(_OWN)]:
    del os.environ[variable]

# Whoever starts tests in the background has Ctrl-C ignored, and every program that they start would
# have too; to those that are tested for it, it comes as in a terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if not item.path.is_relative_to(HERE):
        return len(LONGEST)
    path = item.path.relative_to(HERE).as_posix()
    return next((i for i, place in enumerate(LONGEST) if path.startswith(place)), len(LONGEST))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, or another that is installed, without a screen.

    It lives for one module: as long as it does, an event loop counts as running in this process,
    and Dagster cannot end the loops of its own in tests that come after.
    """
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        missing = f"no browser: none of {', '.join(CHROMIUM)} is installed"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    with sync_playwright() as playwright:
        # Containers let root's Chromium make no sandbox of its own; it sees tests' servers only.
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()

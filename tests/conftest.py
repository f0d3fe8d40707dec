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
    *("cloud/test_fraud_flow_on_aws.py", "flows", "stores/test_flow_on_stores.py", "spark"),
    *("cloud", "stores", "api", "fraud_assets"),
)
"""Begun first, one after another: what is left at the end is short, and no core waits for it."""
WITH_SERVERS = (
    "dagster_metaflow",
    "launch",
    "instance",
    "deployment",
    "ui",
    "warehouse",
    "jenkins",
    "databricks",
)
"""Folders whose tests share servers for as long as they run: each on one core, and last, so that
the servers are started once and do not stand there idle for long."""

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

# Two runs at once share the cores: a thread that has nothing to do must not spin on one of them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Whoever starts tests in the background has Ctrl-C ignored, and every program that they start would
# have too; to those that are tested for it, it comes as in a terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The order in which `make test` gives tests to cores, and which of them stay together."""
    if not config.getoption("loadgroup", False):  # xdist's word in its workers
        return
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=_turn)


def _group(item: pytest.Item) -> str:
    path = item.path.relative_to(HERE)
    return path.parts[0] if path.parts[0] in WITH_SERVERS else str(path)


def _turn(item: pytest.Item) -> tuple[int, int]:
    path = str(item.path.relative_to(HERE))
    for i, place in enumerate(LONGEST):
        if path.startswith(place):
            return 0, i
    folder = path.partition("/")[0]
    return (2, WITH_SERVERS.index(folder)) if folder in WITH_SERVERS else (1, 0)


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

"""Dagster with a small dataset, and a browser without a screen in front of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / name) for name in ("benchmarks", "tests/fraud_assets", "scripts")]

import dagster_servers  # noqa: E402
from assets_kit import GENERATED  # noqa: E402

import local_cards  # noqa: E402

LOCATION = Path(__file__).with_name("location.py")
PATIENCE_MS = 60_000.0


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dagster_servers.Servers]:
    home = tmp_path_factory.mktemp("dagster_home")
    contract = home / "small_claims.yaml"
    contract.write_text(GENERATED, encoding="utf-8")
    cards_port = dagster_servers.free_port()
    environment = {
        "FRAUD_CARDS_URL": f"http://127.0.0.1:{cards_port}",
        "FRAUD_DATASETS": str(contract),
        "LAKEHOUSE_URI": str(home / "lake"),
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(home),
    }
    with (
        local_cards.cards(cards_port, str(home / "lake")),
        dagster_servers.dagster(home, LOCATION, environment=environment) as running,
    ):
        yield running


@pytest.fixture
def picture(page: Page, tmp_path: Path) -> Callable[[str], None]:
    """Takes a picture of the page; PICTURES names a folder to keep it in, as docs/images."""
    folder = Path(os.environ.get("PICTURES", tmp_path))

    def take(name: str) -> None:
        page.wait_for_timeout(1500)  # until what slides in has come to rest
        page.screenshot(path=folder / f"{name}.png")

    return take


@pytest.fixture
def page(browser: Browser, servers: dagster_servers.Servers) -> Iterator[Page]:
    context = browser.new_context(
        base_url=servers.url, viewport={"width": 1500, "height": 950}, timezone_id="UTC"
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    yield page
    context.close()

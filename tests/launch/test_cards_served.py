"""Cards for a browser, while `make ui` runs: served to this machine, and nothing else is."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

sys.path.append(str(Path(__file__).parents[2] / "scripts"))

import local_cards
from fraud_mlops.settings import settings

CARD = "IngestFlow/17/card-ingest-data-17-2.html"


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    folder = tmp_path / "lake" / "_reports" / "IngestFlow" / "17"
    folder.mkdir(parents=True)
    (folder / "card-ingest-data-17-2.html").write_text("<html>Wörter</html>", encoding="utf-8")
    (folder / "parcels.raw_zone.json").write_text("{}")
    (folder.parents[1] / "card-elsewhere.html").write_text("a secret")
    return tmp_path / "lake"


@pytest.fixture
def address(lake: Path, port: int) -> Iterator[str]:
    with local_cards.cards(port, str(lake)) as served:
        assert served
        yield f"http://127.0.0.1:{port}"


def test_a_card_is_a_page(address: str) -> None:
    answer = requests.get(f"{address}/{CARD}", timeout=10)
    assert (answer.status_code, answer.text) == (200, "<html>Wörter</html>")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    # Its scripts run, and reach nobody.
    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert "default-src 'none'" in policy
    assert not [rule for rule in policy if "connect-src" in rule or "http" in rule]


@pytest.mark.parametrize(
    "path",
    ["", "IngestFlow/17", "IngestFlow/17/parcels.raw_zone.json", "IngestFlow/17/card-none.html",
     "IngestFlow/../card-elsewhere.html", "IngestFlow/%2e%2e/card-elsewhere.html"],
)  # fmt: skip
def test_nothing_else_is(address: str, path: str) -> None:
    request = requests.Request("GET", address).prepare()
    request.url = f"{address}/{path}"  # as it stands
    assert requests.Session().send(request, timeout=10).status_code == 404


def test_a_page_of_another_site_cannot_read_them(address: str) -> None:
    """Its name may come to stand for this machine, while it is open."""
    answer = requests.get(f"{address}/{CARD}", headers={"Host": "elsewhere.test"}, timeout=10)
    assert answer.status_code == 404


def test_a_lakehouse_that_cannot_be_read_is_said_in_words(port: int) -> None:
    with local_cards.cards(port, "nowhere://lake"):
        answer = requests.get(f"http://127.0.0.1:{port}/{CARD}", timeout=10)
    assert answer.status_code == 502
    assert "nowhere:// cannot be opened" in answer.text


def test_a_port_that_somebody_has_is_left_to_them() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        local_cards.cards(taken.getsockname()[1]) as served,
    ):
        assert not served


def test_the_record_of_a_run_has_the_card_that_a_link_leads_to(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the lakehouse, whether it is served or not."""
    import log_metaflow_run
    from fraud_assets.run_log import Asset, RunLog

    linked = Asset(
        asset="parcels/raw_zone",
        partition=None,
        metadata={},
        links={"card: data": f"http://127.0.0.1:9/{CARD}"},
    )
    monkeypatch.setenv("LAKEHOUSE_URI", str(lake))
    settings.cache_clear()
    try:
        log_metaflow_run._copy_cards(RunLog.model_construct(assets=(linked,)), tmp_path)
    finally:
        settings.cache_clear()
    assert (tmp_path / "cards" / CARD.rpartition("/")[2]).read_text() == "<html>Wörter</html>"

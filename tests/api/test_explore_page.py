"""What an analyst does on the page at `/`, in a real browser."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_kit import Published, Server, keys, open_server
from playwright.sync_api import Browser, Page, expect


@pytest.fixture(scope="module")
def server(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with open_server(published, tmp_path_factory.mktemp("explore")) as running:
        yield running


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    context = browser.new_context(
        base_url=server.url, viewport={"width": 1280, "height": 1000}, timezone_id="UTC"
    )
    context.set_default_timeout(30_000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("requestfailed", lambda request: complaints.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    refused = "Failed to load resource: the server responded with a status of 4"
    assert [words for words in complaints if not words.startswith(refused)] == []


def alerted(published: Published) -> dict[str, object]:
    """A claim of the last weeks that is alerted, as somebody would paste it."""
    ids = published.claims["claim_id"].to_pylist()
    recent = set(published.recent(30)["claim_id"].to_pylist())
    rows = published.scores["first"].to_pylist()
    name = next(r["claim_id"] for r in rows if r["alert"] and r["claim_id"] in recent)
    return published.claim(ids.index(name))


def test_a_pasted_claim_is_scored_explained_and_turned(
    page: Page, server: Server, published: Published, tmp_path: Path
) -> None:
    claim = alerted(published)
    expected = server.score(claim).json()
    page.goto("/")
    expect(page.get_by_text(published.versions["first"])).to_be_visible()
    page.get_by_text("Paste a claim as JSON").click()
    page.get_by_label("Claim as JSON").fill(json.dumps(claim))
    page.get_by_role("button", name="Fill in").click()
    expect(page.get_by_label("policyholder")).to_have_value(str(claim["policyholder"]))
    page.get_by_role("button", name="Score", exact=True).click()
    result = page.get_by_role("region", name="Result")
    expect(result.get_by_text(f"{100 * expected['probability']:.1f} %").first).to_be_visible()
    expect(result.get_by_text("Alert: for a person to look at.")).to_be_visible()
    expect(result.locator(".reasons li")).to_have_count(len(expected["reasons"]))
    expect(result.locator(".reasons li").first).to_contain_text(expected["reasons"][0]["text"])
    widths = [bar.bounding_box()["width"] for bar in result.locator(".bar").all()]
    assert widths == sorted(widths, reverse=True)
    expect(result.get_by_text(re.compile("alone would turn it"))).to_be_visible()
    expect(result.locator("tbody tr").first).to_be_visible()
    folder = Path(os.environ.get("PICTURES", tmp_path))
    page.screenshot(path=folder / "explore.png", full_page=True)


def test_by_keyboard_alone_from_a_typical_claim(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="Typical claim").focus()
    page.keyboard.press("Enter")
    page.get_by_label("amount", exact=True).focus()
    page.keyboard.press("Enter")
    result = page.get_by_role("region", name="Result")
    expect(result.get_by_text("No alert.")).to_be_visible()
    expect(result.get_by_text("policyholder: Scored as missing")).to_be_visible()


def test_every_field_has_a_label_and_mistakes_are_announced(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_label("amount", exact=True)).to_be_visible()
    for field in page.locator("input:visible, textarea:visible").all():
        assert field.evaluate("field => field.labels.length") == 1
    page.get_by_label("amount", exact=True).fill("lots")
    with page.expect_response("**/v1/score*") as refused:
        page.get_by_role("button", name="Score", exact=True).click()
    assert refused.value.status == 422
    expect(page.get_by_role("alert")).to_contain_text("amount: Input should be a valid number")


def test_with_keys_the_page_asks_for_one(
    browser: Browser, published: Published, tmp_path: Path
) -> None:
    key = keys(tmp_path / "keys.json", "add", "--id", "analyst")
    environment = {"FRAUD_API_OPEN": "0", "FRAUD_API_KEYS_FILE": str(tmp_path / "keys.json")}
    with open_server(published, tmp_path, **environment) as closed:
        page = browser.new_page(base_url=closed.url)
        page.goto("/")
        page.get_by_label("API key or token").fill(key)
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_text(published.versions["first"])).to_be_visible()
        expect(page.get_by_label("API key or token")).to_be_hidden()
        page.close()

"""What an analyst does on the page at `/`, in a real browser."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from api_kit import DATASET, Published, Server, keys, open_server, same
from playwright.sync_api import Browser, Page, Request, expect
from pydantic import TypeAdapter

from fraud_mlops.registry.bundle import load_bundle, write_manifest
from fraud_mlops.serving.single_values import word

ENDS = ("typical", "high-scoring")


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


def open_at(page: Page, published: Published) -> None:
    page.goto("/")
    expect(page.get_by_text(published.versions["first"])).to_be_visible()


def paste(page: Page, text: str) -> None:
    page.get_by_text("Paste a claim as JSON").click()
    page.get_by_label("Claim as JSON").fill(text)
    page.get_by_role("button", name="Fill in").click()


def shown_score(page: Page) -> dict[str, Any]:
    """What the server answers when Score is pressed."""
    with page.expect_response("**/v1/score?*") as answered:
        page.get_by_role("button", name="Score", exact=True).click()
    told: dict[str, Any] = answered.value.json()
    return told


def test_a_pasted_claim_is_scored_explained_and_turned(
    page: Page, server: Server, published: Published, tmp_path: Path
) -> None:
    claim = alerted(published)
    expected = server.score(claim).json()
    open_at(page, published)
    paste(page, json.dumps(claim))
    expect(page.get_by_label("policyholder")).to_have_value(str(claim["policyholder"]))
    page.get_by_role("button", name="Score", exact=True).click()
    result = page.get_by_role("region", name="Result")
    expect(result.get_by_text(f"{100 * expected['probability']:.1f} %").first).to_be_visible()
    expect(result.get_by_text("Alert: for a person to look at.")).to_be_visible()
    expect(result.get_by_text(expected["threshold"]["detail"])).to_be_visible()
    expect(result.locator(".reasons li")).to_have_count(len(expected["reasons"]))
    expect(result.locator(".reasons li").first).to_contain_text(expected["reasons"][0]["text"])
    widths = [bar.bounding_box()["width"] for bar in result.locator(".bar").all()]
    assert widths == sorted(widths, reverse=True)
    expect(result.get_by_text(re.compile("alone would turn it"))).to_be_visible()
    expect(result.locator("tbody tr").first).to_be_visible()
    folder = Path(os.environ.get("PICTURES", tmp_path))
    page.screenshot(path=folder / "explore.png", full_page=True)


def test_no_word_of_the_table_is_broken_on_a_telephone(page: Page, published: Published) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    open_at(page, published)
    paste(page, json.dumps(alerted(published)))
    page.get_by_role("button", name="Score", exact=True).click()
    result = page.get_by_role("region", name="Result")
    expect(result.locator("tbody tr").first).to_be_visible()
    words = """cells => cells.flatMap(cell => {
      const [text, range] = [cell.firstChild, document.createRange()];
      return [...text.data.matchAll(/\\S+/g)].filter(word => {
        range.setStart(text, word.index);
        range.setEnd(text, word.index + word[0].length);
        return range.getClientRects().length > 1;
      }).map(word => word[0]);
    })"""
    assert result.locator("th, td").evaluate_all(words) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def nearly_alerted(server: Server) -> tuple[dict[str, Any], str]:
    """A claim that one common value would have alerted, which it lacks in a field; which field."""
    told = server.get("/v1/model/schema").json()["examples"]
    typical, high = (next(e["claim"] for e in told if e["name"] == n) for n in ENDS)
    for name in (name for name in high if high[name] != typical.get(name)):
        claim = {k: v for k, v in high.items() if k != name}
        for low in (claim, claim | {name: typical.get(name)}):
            if not server.score(low, params={"what_if": "true"}).json()["alert"]:
                return low, name
    raise AssertionError(told)


def test_a_claim_without_an_alert_is_told_which_common_value_would_alert_it(
    page: Page, server: Server, published: Published
) -> None:
    claim, name = nearly_alerted(server)
    open_at(page, published)
    paste(page, json.dumps(claim))
    assert shown_score(page)["alert"] is False
    changes = page.locator("#changes")
    expect(changes.get_by_text("Each of these alone would turn it:")).to_be_visible()
    row = changes.locator("tbody tr").filter(has_text=name.replace("_", " "))
    expect(row).to_have_count(1)
    expect(row.locator("td").last).to_have_text("alert")
    expect(changes).to_contain_text("Tried, one at a time: what is usual or common in training")


def test_of_a_claim_that_no_value_turns_only_what_was_tried_is_said(
    page: Page, published: Published
) -> None:
    """Empty fields are tried too, and only what moves the score towards the other decision."""
    open_at(page, published)
    page.get_by_role("button", name="Low-scoring claim").click()
    page.get_by_label("amount to guide").fill("")
    told = shown_score(page)
    changes = page.locator("#changes")
    expect(changes).to_contain_text("Of the values that were tried, none alone would turn it.")
    expect(
        changes.get_by_role("row", name=re.compile("^amount to guide .* missing"))
    ).to_be_visible()
    shares = [share.removesuffix(" %") for share in changes.locator("td.number").all_inner_texts()]
    assert min(map(float, shares)) >= round(100 * told["probability"], 2)


def test_what_is_tried_for_a_change_is_no_answer_on_the_claim(
    page: Page, published: Published
) -> None:
    """The prediction log holds the last answer on each claim against its label."""
    open_at(page, published)
    paste(page, json.dumps(alerted(published)))
    page.get_by_label("amount", exact=True).fill("10")
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    with page.expect_response("**/v1/score/batch*"):
        page.get_by_role("button", name="Score", exact=True).click()
    assert [urlsplit(request.url).path for request in asked] == ["/v1/score", "/v1/score/batch"]
    assert all("what_if=true" in request.url for request in asked)
    tried = [json.loads(line) for line in (asked[1].post_data or "").splitlines()]
    assert tried
    assert not any("claim_id" in claim for claim in tried)


def test_an_analyst_picks_a_typical_claim_or_one_of_either_end(
    page: Page, published: Published
) -> None:
    open_at(page, published)
    told = {}
    for name in ("Typical", "High-scoring", "Low-scoring"):
        page.get_by_role("button", name=f"{name} claim").click()
        told[name] = shown_score(page)
    assert told["High-scoring"]["alert"] is True
    assert told["Typical"]["alert"] is False
    assert told["Low-scoring"]["score"] < told["Typical"]["score"] < told["High-scoring"]["score"]
    assert {t["claim_id"] for t in told.values()} == {None}


def test_histories_that_a_pasted_claim_brings_are_seen_and_scored(
    page: Page, server: Server, published: Published
) -> None:
    claim = published.claim() | {"features": {"provider_fraud_lift_30d": 6.0}}
    open_at(page, published)
    paste(page, json.dumps(claim))
    brought = page.get_by_role("group", name="Histories that the claim brings")
    expect(brought.get_by_label("provider fraud lift 30d")).to_have_value("6")
    expected = server.score(claim).json()["score"]
    assert same(shown_score(page)["score"], expected)
    brought.get_by_label("provider fraud lift 30d").fill("0.1")
    assert shown_score(page)["score"] < expected
    page.get_by_role("button", name="Typical claim").click()
    expect(brought).to_be_hidden()
    assert shown_score(page)["score"] < expected


@pytest.mark.parametrize(
    ("pasted", "told"),
    [
        ('{"amount": 5, "ammount": 6}', "A claim has no field ammount here."),
        ('{"features": {"provider_smell_30d": 1}}', "features has no field provider_smell_30d"),
        ('{"features": [1]}', "features should be an object"),
        ("null", "A claim should be an object"),
        ("[1]", "A claim should be an object"),
        ('"theft"', "A claim should be an object"),
        ('{"peril": {"kind": "theft"}, "region": true}', "peril, region: should be a number, a"),
        ('{"amount": NaN}', "This is not JSON"),
    ],
)
def test_what_the_form_cannot_show_is_refused_as_a_whole(
    page: Page, published: Published, pasted: str, told: str
) -> None:
    open_at(page, published)
    page.get_by_label("amount", exact=True).fill("77")
    paste(page, pasted)
    expect(page.get_by_role("alert")).to_contain_text(told)
    expect(page.get_by_label("amount", exact=True)).to_have_value("77")


def test_numbers_reach_the_server_as_they_were_written(page: Page, published: Published) -> None:
    """A number too large for any is a mistake, not a missing value; names have all their digits."""
    open_at(page, published)
    paste(page, '{"policyholder": 12345678901234567891, "amount": 1e999}')
    expect(page.get_by_label("policyholder")).to_have_value("12345678901234567891")
    for _ in range(2):
        with page.expect_response("**/v1/score?*") as refused:
            page.get_by_role("button", name="Score", exact=True).click()
        assert refused.value.status == 422
        expect(page.get_by_role("alert")).to_contain_text("amount: Input should be a valid number")
        page.get_by_label("amount", exact=True).fill("-1e400")


MEAN = "provider_amount_mean_7d"


@pytest.fixture
def german(own: Published, tmp_path: Path) -> Iterator[Server]:
    """Of a source that writes 1.234,5."""
    manifest = load_bundle(own.models, DATASET, own.versions["first"]).manifest
    csv = {"decimal": ",", "thousands": "."}
    source = {"kind": "file", "uri": "claims.csv", "csv": csv}
    write_manifest(
        own.models,
        manifest.model_copy(update={"contract": manifest.contract | {"source": source}}).sealed(),
    )
    with open_server(own, tmp_path) as running:
        yield running


def test_numbers_are_read_by_the_signs_of_the_source_as_the_api_reads_them(
    browser: Browser, german: Server, own: Published
) -> None:
    """The text 1.234 is 1234, pasted or typed; the JSON number 1.234 is shown as 1,234."""
    page = browser.new_page(base_url=german.url)
    open_at(page, own)
    amount = page.get_by_label("amount", exact=True)
    expect(amount).to_have_attribute("placeholder", re.compile(r"^usually \d\.\d{3}"))
    for value, shown in (
        ("1.234", "1.234"),
        ("1.000", "1.000"),
        ("1.234,5", "1.234,5"),
        (1.234, "1,234"),
        (1234.0, "1234"),
    ):
        claim = {"amount": value, "features": {MEAN: value}}
        expected = german.score(claim, params={"what_if": "true"}).json()["score"]
        paste(page, json.dumps(claim))
        expect(amount).to_have_value(shown)
        expect(page.get_by_label(MEAN.replace("_", " "))).to_have_value(shown)
        assert same(shown_score(page)["score"], expected), value
    page.get_by_role("button", name="Clear").click()
    amount.fill("1.234")
    expected = german.score({"amount": 1234}, params={"what_if": "true"}).json()["score"]
    assert same(shown_score(page)["score"], expected)
    page.close()


def test_what_is_usual_already_is_not_tried_in_a_source_of_other_signs(
    browser: Browser, german: Server, own: Published
) -> None:
    page = browser.new_page(base_url=german.url)
    open_at(page, own)
    page.get_by_role("button", name="Typical claim").click()
    with page.expect_request("**/v1/score/batch*") as asked:
        page.get_by_role("button", name="Score", exact=True).click()
    told = german.get("/v1/model/schema").json()
    usual = {c["name"]: c["typical"] for c in told["columns"] if c["kind"] == "number"}
    tried = [json.loads(line) for line in (asked.value.post_data or "").splitlines()]
    assert [claim for claim in tried if any(claim[name] == usual[name] for name in usual)] == []
    page.close()


@pytest.mark.parametrize(
    "number", ["3.0", "3.50", "1e3", "-0.0", "-0", "1e16", "0.1e-7", "123456789012345678901"]
)
def test_a_number_in_a_words_place_is_read_as_the_server_reads_it(
    page: Page, published: Published, number: str
) -> None:
    """3.0 is the code 3, however it was pasted."""
    read = TypeAdapter(word()).validate_json(number)
    open_at(page, published)
    paste(page, f'{{"region": {number}, "policyholder": {number}, "agent": "3.0"}}')
    for name in ("region", "policyholder"):
        expect(page.get_by_label(name, exact=True)).to_have_value(read)
    expect(page.get_by_label("agent", exact=True)).to_have_value("3.0")


def test_a_result_is_never_beside_another_claim(page: Page, published: Published) -> None:
    open_at(page, published)
    outdated, result = page.get_by_text("The claim has changed since"), page.locator("#result")
    amount = page.get_by_label("amount", exact=True)

    def score() -> None:
        page.get_by_role("button", name="Score", exact=True).click()

    page.get_by_role("button", name="High-scoring claim").click()
    value = amount.input_value()
    score()
    expect(result).to_contain_text("Alert: for a person to look at.")
    expect(outdated).to_be_hidden()
    amount.fill("1")
    expect(outdated).to_be_visible()
    expect(result).to_have_css("opacity", "0.4")
    amount.fill(value)
    expect(outdated).to_be_hidden()
    for name in ("Typical claim", "Clear"):
        page.get_by_role("button", name=name).click()
        expect(result).to_have_text(re.compile("Fill in what is known of a claim"))
        score()
        expect(result).to_contain_text("No alert.")
    amount.fill("lots")
    score()
    expect(page.get_by_role("alert")).to_contain_text("amount: Input should be a valid number")
    expect(result).to_have_text(re.compile("Fill in what is known of a claim"))
    expect(outdated).to_be_hidden()


def test_an_answer_that_comes_when_another_claim_is_in_the_form_is_not_shown(
    page: Page, published: Published
) -> None:
    open_at(page, published)
    page.get_by_role("button", name="High-scoring claim").click()
    with page.expect_response("**/v1/score?*"):
        page.evaluate("""() => {
            document.getElementById("score").click();
            document.getElementById("clear").click();
        }""")
    told = shown_score(page)
    expect(page.locator("#result")).to_contain_text(told["request_id"])


def test_what_cannot_be_tried_is_said_and_the_score_stays(
    browser: Browser, published: Published, tmp_path: Path
) -> None:
    with open_server(published, tmp_path, FRAUD_API_MAX_BATCH_BYTES="1024") as small:
        page = browser.new_page(base_url=small.url)
        open_at(page, published)
        page.get_by_role("button", name="High-scoring claim").click()
        page.get_by_role("button", name="Score", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("bytes")
        expect(page.locator("#changes")).to_have_text("Could not be tried.")
        expect(page.locator("#result")).to_contain_text("Alert: for a person to look at.")
        page.close()


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
        page.get_by_label("API key or token").fill("fk_wrong")
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_role("alert")).to_contain_text("not known")
        expect(page.get_by_text("Looking for the model")).to_be_hidden()
        expect(page.get_by_role("button", name="Score", exact=True)).to_be_hidden()
        expect(page.get_by_text("Examples, made up")).to_be_hidden()
        page.get_by_label("API key or token").fill(key)
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_text(published.versions["first"])).to_be_visible()
        expect(page.get_by_label("API key or token")).to_be_hidden()
        expect(page.get_by_role("button", name="Score", exact=True)).to_be_visible()
        page.close()

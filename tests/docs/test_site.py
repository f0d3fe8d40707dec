"""The site builds without a warning, and has what the code says of itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build" / "site"
LOADED = re.compile(
    r'<(?:script|img|iframe)[^>]* src="([^"]+)"|<link[^>]* rel="stylesheet"[^>]* href="([^"]+)"'
)
sys.path.append(str(ROOT / "scripts"))
import build_docs  # noqa: E402


@pytest.fixture(scope="module")
def site() -> Path:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "build_docs.py"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return SITE


def pages() -> list[str]:
    found: list[str] = []
    for section in yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]:
        listed = next(iter(section.values()))
        found += [one if isinstance(one, str) else next(iter(one.values())) for one in listed]
    return found


def built(page: str) -> str:
    """A README is the index of its folder."""
    return re.sub(r"(README)?\.md$", lambda m: "index.html" if m[1] else ".html", page)


def test_every_page_of_the_menu_is_there_and_every_page_is_in_the_menu(site: Path) -> None:
    assert [page for page in pages() if not (site / built(page)).is_file()] == []
    made = {
        str(p.relative_to(ROOT / "build" / "docs")) for p in (ROOT / "build" / "docs").rglob("*.md")
    }
    assert made - set(pages()) == set()


def test_the_first_page_leads_to_every_page() -> None:
    """README calls it all pages."""
    linked = set(re.findall(r"\]\(([\w./-]+\.md)\)", (ROOT / "docs" / "index.md").read_text()))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - linked == {"index.md"}


def test_links_and_pictures_lead_somewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        if page.name == "404.html":
            continue
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r'(?:href|src)="([^"#?]+)', text):
            if not re.match(r"[a-z]+:|//", link):
                assert (page.parent / link).resolve().exists(), f"{page.relative_to(site)}: {link}"


def test_anchors_are_there(site: Path) -> None:
    for page in (site).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for file, anchor in re.findall(r'href="([\w./-]*\.html)?#([\w-]+)"', text):
            there = (page.parent / file).resolve() if file else page
            assert f'id="{anchor}"' in there.read_text(encoding="utf-8"), (
                f"{page.name}: {file}#{anchor}"
            )


def test_reading_it_asks_no_other_server(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = LOADED.findall(page.read_text(encoding="utf-8"))
        assert [one for one in map("".join, loaded) if one.startswith(("http", "//"))] == []


def test_the_library_is_described_by_its_own_words(site: Path) -> None:
    text = (site / "reference" / "dagster_metaflow.html").read_text(encoding="utf-8")
    import dagster_metaflow

    for name in set(dagster_metaflow.__all__) - {"BACKEND_TAG"}:
        assert name in text, name
    assert "write_report" in text


def test_the_http_api_has_every_path(site: Path) -> None:
    from api.openapi import describe

    text = (site / "reference" / "http-api.html").read_text(encoding="utf-8")
    for path in describe(None)["paths"]:
        assert path in text, path


def test_the_model_card_is_a_champions(site: Path) -> None:
    text = (ROOT / "build" / "docs" / "model-card.md").read_text(encoding="utf-8")
    assert text.startswith("# Model card: synthetic_claims 2")
    assert "## Out of time" in text


def test_a_link_that_leads_nowhere_stops_the_build() -> None:
    with pytest.raises(SystemExit, match=r"docs/x\.md: links to nowhere\.md"):
        build_docs.moved("[a](nowhere.md)", Path("docs/x.md"))

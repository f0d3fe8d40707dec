"""A flow's cards as HTML files that its assets link to."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_metaflow import MetaflowFlow, MetaflowResource, metaflow_assets
from dagster_metaflow.backends.local import LocalBackend
from dagster_metaflow.cards import CardExporter
from dagster_metaflow.events import Published

FLOW = MetaflowFlow(Path(__file__).parent / "toy" / "card_flow.py")
LINKS = {"first": ["card: shape"], "second": ["card: blank", "card: shape"]}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def materialize(
    folder: Path, instance: dg.DagsterInstance, **environment: str
) -> dg.ExecuteInProcessResult:
    @metaflow_assets(flow=FLOW, assets=["first", "second"])
    def toy(context: dg.AssetExecutionContext, metaflow: MetaflowResource) -> Iterator[Any]:
        yield from metaflow.run(context, FLOW).stream()

    (folder / ".metaflow").mkdir(exist_ok=True)  # else Metaflow looks for one in the folders above
    settings = {"METAFLOW_HOME": str(folder / "home"), "METAFLOW_USER": "toy", **environment}
    local = LocalBackend(working_directory=str(folder), environment=settings)
    resource = MetaflowResource(ledger_root=str(folder / "lake"), local=local, poll_seconds=0.05)
    return dg.materialize([toy], instance=instance, resources={"metaflow": resource})


def linked(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Path]]:
    """Files of cards by entry, by asset."""
    return {
        event.asset_key.to_user_string(): {
            name: Path(str(value.value))
            for name, value in event.step_materialization_data.materialization.metadata.items()
            if name.startswith("card: ")
        }
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }


def test_a_flows_description_names_its_cards() -> None:
    cards = {step.name: step.cards for step in FLOW.description.steps}
    assert cards == {"start": ("shape",), "end": ("blank",)}


@pytest.mark.flow
def test_each_asset_links_to_the_cards_of_its_step_and_of_those_before(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    found = linked(materialize(tmp_path, instance))
    assert {asset: sorted(cards) for asset, cards in found.items()} == LINKS
    pages = {name: place.read_text("utf-8") for name, place in found["second"].items()}
    assert all("<html" in page.lower() for page in pages.values())
    assert pages["card: shape"] != pages["card: blank"]


def test_where_the_ledger_is_served_a_browser_is_led_to_the_same_page() -> None:
    task, place = "CardFlow/7/start/1", "CardFlow/abc-1"
    published = Published(dg.AssetKey("first"), task, "abc-1", "CardFlow", 0.0, (), ())
    shown = {}
    for address in (None, f"https://cards.test/{place}"):
        exporter = CardExporter(FLOW, LocalBackend(), f"/lake/_reports/{place}", print, address)
        shown[address] = exporter.linked(published).links["card: shape"]
    page = f"{place}/card-start-shape-7-1.html"
    assert list(shown.values()) == [
        dg.MetadataValue.path(f"/lake/_reports/{page}"),
        dg.MetadataValue.url(f"https://cards.test/{page}"),
    ]


@pytest.mark.flow
def test_a_card_that_cannot_be_had_is_a_line_in_the_log(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    result = materialize(tmp_path, instance, TOY_CARD="unheard_of")
    assert result.success
    said = [entry.user_message for entry in instance.all_logs(result.run_id)]
    (told,) = [text for text in said if text.startswith("Cards of CardFlow/")]
    assert "/start/1 cannot be exported: Card not found" in told
    assert not linked(result)["first"]["card: shape"].exists()
    assert linked(result)["second"]["card: blank"].exists()


@pytest.mark.flow
def test_cards_are_found_where_metaflow_keeps_its_records_elsewhere(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "records").mkdir()
    elsewhere = str(tmp_path / "records")
    found = linked(
        materialize(tmp_path / "here", instance, METAFLOW_DATASTORE_SYSROOT_LOCAL=elsewhere)
    )
    assert (tmp_path / "records" / ".metaflow" / "CardFlow").exists()
    assert {asset: sorted(cards) for asset, cards in found.items()} == LINKS
    pages = [place.read_text("utf-8") for place in found["second"].values()]
    assert all("<html" in page.lower() for page in pages)
    assert len(set(pages)) == 2


@pytest.mark.flow
def test_nothing_is_left_behind(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    before = left()
    materialize(tmp_path, instance)
    assert left() <= before


def left() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("dagster_metaflow_cards_*"))

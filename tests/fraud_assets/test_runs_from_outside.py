"""A flow that somebody started in a shell shows in Dagster like one that Dagster started."""

from __future__ import annotations

from assets_kit import Place

from dagster_metaflow.reports import Check, Materialization, write_report

SENSOR = "external_runs_sensor"


def publish(place: Place, dataset: str, *months: str) -> None:
    """As IngestFlow does at the end of its step."""
    write_report(
        place.stores.root,
        "IngestFlow",
        "17",
        [dataset, "raw_zone"],
        [Materialization(data_version=f"v-{month}", partition=month) for month in months],
        [Check(name="contract", passed=True)],
        run="IngestFlow/17/ingest/2",
    )


def test_its_partitions_and_checks_are_recorded_once(generated: Place) -> None:
    publish(generated, "small_claims", "2024-01", "2024-02")
    ticked = generated.tick(SENSOR)
    materialized, check = ticked.asset_events[:-1], ticked.asset_events[-1]
    assert [event.partition for event in materialized] == ["2024-01", "2024-02"]
    assert {event.asset_key for event in materialized} == {generated.dataset.key("raw_zone")}
    assert materialized[0].tags["dagster/data_version"] == "v-2024-01"
    assert (check.check_name, check.passed) == ("contract", True)
    for event in ticked.asset_events:
        generated.instance.report_runless_asset_event(event)
    assert generated.tick(SENSOR, ticked.cursor).asset_events == []
    assert generated.tick(SENSOR).asset_events == []  # a cursor that was reset


def test_a_dataset_that_dagster_does_not_show_is_left_out(generated: Place) -> None:
    publish(generated, "boats", "2024-01")
    assert generated.tick(SENSOR).asset_events == []

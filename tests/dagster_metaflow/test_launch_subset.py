"""What is selected is what is published, and what the op is given is what the flow takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pytest
from toy_kit import FLOW, MONTHS, Toy, failure, materialized, told

from dagster_metaflow import MetaflowFlow


@pytest.mark.flow
def test_of_two_assets_the_selected_one_alone_is_published(
    toy: Toy, instance: dg.DagsterInstance
) -> None:
    result = toy.materialize(instance=instance, selection=["second"])
    assert result.success
    assert toy.published == {"second None": 1}
    assert not materialized(instance, "first")
    assert [check.asset_key.to_user_string() for check in result.get_asset_check_evaluations()] == [
        "second"
    ]


@pytest.mark.flow
def test_checks_alone_cannot_be_run_and_the_operator_is_told_what_to_do(
    toy: Toy, instance: dg.DagsterInstance
) -> None:
    selection = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("first"), "sound"))
    result = toy.materialize(instance=instance, selection=selection)
    assert not result.success
    assert "materialize their assets" in failure(result)
    assert not toy.metaflow_runs


@pytest.mark.flow
def test_a_check_that_does_not_pass_is_shown_and_the_asset_is_there(
    toy: Toy, instance: dg.DagsterInstance
) -> None:
    result = toy.materialize(instance=instance, config={"word": "unsound"})
    assert {check.passed for check in result.get_asset_check_evaluations()} == {False}
    assert len(materialized(instance, "second")) == 1


@pytest.mark.flow
def test_run_config_reaches_the_flow_with_its_types(toy: Toy, instance: dg.DagsterInstance) -> None:
    given = {"size": 1, "rate": 0.125, "word": 'it\'s = "odd" --yes'}
    assert toy.materialize(instance=instance, config=given).success
    text = (toy.lake / "second" / "None.txt").read_text()
    assert text == 'it\'s = "odd" --yes 1 0.125 None\n'
    assert toy.steps_run["work"] == 1


def test_the_op_offers_the_parameters_of_the_flow_with_its_defaults_and_help() -> None:
    fields = FLOW.config_schema
    offered = {n: f.default_value if f.default_provided else None for n, f in fields.items()}
    assert offered == {
        "size": 2, "rate": 0.5, "shout": False, "word": "toy", "skip": "", "prefix": None,
    }  # fmt: skip
    assert fields["size"].description == "How many parts."


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"size": "many"}, 'Invalid scalar at path root:ops:toy:config:size. Value "many"'),
        ({"sise": 1}, 'Received unexpected config entry "sise" at path root:ops:toy:config'),
        ({"launch_id": "mine"}, 'Received unexpected config entry "launch_id"'),
    ],
)
def test_config_that_the_flow_does_not_take_is_refused_before_anything_starts(
    toy: Toy, instance: dg.DagsterInstance, config: Mapping[str, Any], said: str
) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError) as refused:
        toy.materialize(instance=instance, config=dict(config))
    assert said in str(refused.value)
    assert not toy.launches


def test_what_is_settled_in_code_is_not_asked_for_and_must_be_known_to_the_flow() -> None:
    settled = MetaflowFlow(FLOW.path, fixed={"word": "fixed"})
    assert "word" not in settled.config_schema
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="ToyFlow has no parameter wurd"):
        _ = MetaflowFlow(FLOW.path, fixed={"wurd": "x"}).config_schema


@pytest.mark.flow
def test_a_partition_becomes_parameters_of_the_flow_and_a_tag_of_its_run(
    toy: Toy, instance: dg.DagsterInstance
) -> None:
    assets = toy.assets(partitions_def=MONTHS)
    assert toy.materialize(instance=instance, assets=assets, partition_key="2024-03").success
    assert toy.published == {"first 2024-03": 1, "second 2024-03": 1}
    [event] = materialized(instance, "first")
    assert event.partition_key == "2024-03"
    [run] = toy.metaflow_runs
    assert "partition:2024-03" in toy.metaflow_tags(run)


@pytest.mark.flow
def test_a_range_of_partitions_is_one_metaflow_run(toy: Toy, instance: dg.DagsterInstance) -> None:
    result = toy.materialize_range("2024-02", "2024-05", instance=instance)
    assert result.success
    assert len(toy.metaflow_runs) == 1
    months = ["2024-02", "2024-03", "2024-04", "2024-05"]
    for name in ("first", "second"):
        events = materialized(instance, name)
        latest = {event.partition_key: event for event in events}
        shown = {month: told(event)["month"] for month, event in latest.items()}
        assert shown == dict(zip(months, months, strict=True))


@pytest.mark.flow
def test_a_partition_that_the_run_forgets_is_named_and_the_others_are_recorded(
    toy: Toy, instance: dg.DagsterInstance
) -> None:
    result = toy.materialize_range(
        "2024-01", "2024-03", instance=instance, config={"skip": "2024-02"}
    )
    assert not result.success
    assert "did not report first (without partition 2024-02)" in failure(result)
    assert {e.partition_key for e in materialized(instance, "first")} == {"2024-01", "2024-03"}

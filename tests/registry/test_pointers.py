"""The champion moves one compare-and-set at a time, and every move is kept."""

from __future__ import annotations

import pytest
from pointer_kit import ME, Registry
from registry_kit import DATASET

from fraud_mlops.errors import BundleError, RegistryError
from fraud_mlops.registry.going_back import rollback_target
from fraud_mlops.registry.pointers import (
    history,
    promote,
    read_pointer,
    withdraw,
)


def test_the_first_champion_replaces_none(any_registry: Registry) -> None:
    assert any_registry.champion is None
    version = any_registry.add("a")
    pointer = any_registry.promote(version, expected=None)
    assert (pointer.version, pointer.previous, pointer.by, pointer.reason) == (
        version,
        None,
        "ada",
        "because",
    )
    assert pointer.since.tzinfo is not None
    assert read_pointer(any_registry.uri, DATASET, "champion") == pointer


def test_a_champion_that_somebody_else_moved_is_not_overwritten(any_registry: Registry) -> None:
    a, b, c = map(any_registry.add, "abc")
    any_registry.promote(a)
    promote(any_registry.uri, DATASET, b, expected=a, by="grace", reason="better")
    with pytest.raises(RegistryError, match=rf"champion is {b}.*by grace.*expected was {a}"):
        any_registry.promote(c, expected=a)
    with pytest.raises(RegistryError, match="expected was none"):
        any_registry.promote(c, expected=None)
    assert any_registry.champion == b
    assert any_registry.moves() == [a, b]


def test_a_first_champion_that_is_withdrawn_is_no_place_to_go_back_to(
    any_registry: Registry,
) -> None:
    a, b = map(any_registry.add, "ab")
    any_registry.promote(a)
    withdraw(any_registry.uri, DATASET, a, **ME)
    assert any_registry.champion is None
    any_registry.promote(b, expected=None)
    assert rollback_target(any_registry.uri, DATASET) is None
    moves = history(any_registry.uri, DATASET)
    assert [(m.version, m.withdrawn) for m in moves] == [(a, False), (a, True), (b, False)]


def test_a_withdrawal_that_was_broken_off_leaves_the_champion_and_its_way_back(
    registry: Registry,
) -> None:
    a, b = map(registry.add, "ab")
    registry.promote(a)
    registry.promote(b)
    registry.break_off_a_withdrawal(b)
    assert rollback_target(registry.uri, DATASET) == a
    withdraw(registry.uri, DATASET, b, **ME)
    c = registry.add("c")
    registry.promote(c, expected=None)
    assert registry.rollback() == a


def test_only_who_leads_is_withdrawn(any_registry: Registry) -> None:
    a, b = map(any_registry.add, "ab")
    any_registry.promote(b)
    with pytest.raises(RegistryError, match="nothing was changed"):
        withdraw(any_registry.uri, DATASET, a, **ME)
    assert any_registry.champion == b


def test_a_retried_step_finds_its_promotion_done(any_registry: Registry) -> None:
    a, b = map(any_registry.add, "ab")
    any_registry.promote(a)
    first = any_registry.promote(b, expected=a)
    assert any_registry.promote(b, expected=a) == first
    assert any_registry.moves() == [a, b]


def test_only_a_whole_bundle_can_lead_or_challenge(registry: Registry) -> None:
    version = registry.add("a")
    (registry.folder / version / "network.json").write_bytes(b"[]")
    for move in (registry.promote, registry.challenge):
        with pytest.raises(BundleError, match=r"network\.json"):
            move(version)
        with pytest.raises(BundleError, match="no such model version"):
            move("20240301-0123456789ab")
    assert registry.champion is None
    assert registry.challenger is None


def test_a_challenger_stands_until_it_leads_or_is_replaced(any_registry: Registry) -> None:
    a, b, c = map(any_registry.add, "abc")
    any_registry.promote(a)
    first = any_registry.challenge(b)
    assert any_registry.challenge(b) == first
    any_registry.challenge(c)
    assert any_registry.challenger == c
    any_registry.promote(c)
    assert any_registry.challenger is None
    assert any_registry.moves("challenger") == [b, c, c]
    any_registry.challenge(b)
    with pytest.raises(RegistryError, match="moved the challenger"):
        withdraw(any_registry.uri, DATASET, c, role="challenger", **ME)
    withdraw(any_registry.uri, DATASET, b, role="challenger", **ME)
    assert any_registry.challenger is None
    assert any_registry.champion == c
    assert any_registry.moves("challenger") == [b, c, c, b, b]


def test_the_champion_trained_once_more_challenges_nobody(registry: Registry) -> None:
    a = registry.add("a")
    champion = registry.promote(a)
    assert registry.challenge(a) == champion
    assert registry.challenger is None


def test_rollback_goes_back_to_what_was_replaced_and_then_further(any_registry: Registry) -> None:
    a, b, c = map(any_registry.add, "abc")
    for version in (a, b, c):
        any_registry.promote(version)
    assert any_registry.rollback() == b
    assert any_registry.rollback() == a, "never to c, which was rolled back from"
    with pytest.raises(RegistryError, match=r"nothing to go back to.*--to"):
        any_registry.rollback()
    assert any_registry.champion == a
    assert any_registry.moves() == [a, b, c, b, a]


def test_a_version_that_was_rolled_back_from_comes_back_by_name(registry: Registry) -> None:
    a, b, c = map(registry.add, "abc")
    for version in (a, b, c):
        registry.promote(version)
    registry.rollback()
    assert registry.rollback(to=c) == c
    assert registry.rollback() == b


def test_after_a_rollback_a_new_champion_stands_on_the_old_one(registry: Registry) -> None:
    a, b, c = map(registry.add, "abc")
    registry.promote(a)
    registry.promote(b)
    registry.rollback()
    registry.promote(c)
    assert registry.rollback() == a


def test_rollback_checks_the_bundle_it_goes_back_to(registry: Registry) -> None:
    a, b = map(registry.add, "ab")
    registry.promote(a)
    registry.promote(b)
    (registry.folder / a / "weights.safetensors").unlink()
    with pytest.raises(BundleError, match=r"weights\.safetensors: is missing"):
        registry.rollback()
    assert registry.champion == b


def test_without_a_champion_there_is_nothing_to_roll_back(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="no champion"):
        registry.rollback()

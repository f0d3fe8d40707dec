"""Which versions a person, or a check, has taken back, and which only came to be replaced."""

from __future__ import annotations

from pointer_kit import ME, Registry
from registry_kit import DATASET

from fraud_mlops.registry.pointers import Pointer, withdraw
from fraud_mlops.registry.taken_back import taken_back


def of(registry: Registry, version: str) -> Pointer | None:
    return taken_back(registry.uri, DATASET, version)


def test_what_was_rolled_back_from_is_taken_back_until_it_leads_again(registry: Registry) -> None:
    a, b, c = map(registry.add, "abc")
    for version in (a, b):
        registry.promote(version)
    assert of(registry, a) is of(registry, b) is None  # a was replaced, b leads
    registry.rollback()
    move = of(registry, b)
    assert move is not None
    assert (move.version, move.by, move.reason, move.withdrawn) == (a, "ada", "because", False)
    assert of(registry, a) is None
    registry.promote(b)
    registry.promote(c)
    assert of(registry, b) is None


def test_going_back_further_takes_back_all_that_came_after(registry: Registry) -> None:
    a, b, c = map(registry.add, "abc")
    for version in (a, b, c):
        registry.promote(version)
    registry.rollback(to=a)
    assert of(registry, b) is not None
    assert of(registry, b) == of(registry, c)


def test_a_withdrawn_champion_is_taken_back_and_a_withdrawn_challenger_is_not(
    registry: Registry,
) -> None:
    a, b = map(registry.add, "ab")
    registry.promote(a)
    registry.challenge(b)
    withdraw(registry.uri, DATASET, b, role="challenger", **ME)
    withdraw(registry.uri, DATASET, a, **ME)
    move = of(registry, a)
    assert move is not None
    assert move.withdrawn
    assert of(registry, b) is None

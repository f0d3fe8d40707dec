"""Which versions a person has gone back from, and which only came to be replaced."""

from __future__ import annotations

from pointer_kit import ME, Registry
from registry_kit import DATASET, publish

from fraud_mlops.registry.bundle import load_bundle
from fraud_mlops.registry.going_back import rollback_target, taken_back
from fraud_mlops.registry.pointers import Pointer, promote, remove_version, withdraw

RUN = {"by": "FraudDetectionFlow/1700000000000000", "reason": "The challenger replaces it."}


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


def test_a_run_that_makes_an_earlier_version_lead_again_has_replaced_and_taken_back_nothing(
    registry: Registry,
) -> None:
    """As where the alert budget is what it was before."""
    a, b = map(registry.add, "ab")
    for version, before in [(a, None), (b, a), (a, b)]:
        promote(registry.uri, DATASET, version, expected=before, **RUN)
    assert of(registry, b) is None
    assert rollback_target(registry.uri, DATASET) == b
    assert registry.rollback() == b
    assert of(registry, a) is not None


def test_a_withdrawn_version_is_not_taken_back(registry: Registry) -> None:
    """The next model is to be the first, whichever it is."""
    a, b = map(registry.add, "ab")
    registry.promote(a)
    registry.challenge(b)
    withdraw(registry.uri, DATASET, b, role="challenger", **ME)
    withdraw(registry.uri, DATASET, a, **ME)
    assert of(registry, a) is of(registry, b) is None


def test_a_withdrawal_that_was_broken_off_takes_nothing_back(registry: Registry) -> None:
    a, b = map(registry.add, "ab")
    registry.promote(a)
    registry.promote(b)
    registry.break_off_a_withdrawal(b)
    registry.rollback()
    assert of(registry, b) is not None


def test_a_version_that_has_another_name_since_is_still_taken_back(registry: Registry) -> None:
    a, b = map(registry.add, "ab")
    registry.promote(a)
    registry.promote(b)
    registry.rollback()
    now = publish(registry.uri, "b without a person", derived_from=b)
    remove_version(registry.uri, DATASET, b)
    assert load_bundle(registry.uri, DATASET, now).manifest.derived_from == b
    assert of(registry, now) is not None

"""The champion moves one compare-and-set at a time, and every move is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from registry_kit import DATASET, publish

from fraud_mlops.errors import BundleError, RegistryError
from fraud_mlops.registry.bundle import list_versions
from fraud_mlops.registry.pointers import (
    Pointer,
    clear_challenger,
    history,
    promote,
    read_pointer,
    rollback,
    set_challenger,
)

ME = {"by": "ada", "reason": "because"}


class Registry:
    """One dataset's registry with bundles a, b, c, ... in it."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def add(self, name: str) -> str:
        return publish(self.uri, name)

    @property
    def champion(self) -> str | None:
        pointer = read_pointer(self.uri, DATASET, "champion")
        return pointer.version if pointer else None

    @property
    def challenger(self) -> str | None:
        pointer = read_pointer(self.uri, DATASET, "challenger")
        return pointer.version if pointer else None

    def promote(self, version: str, expected: str | None = "current") -> Pointer:
        expected = self.champion if expected == "current" else expected
        return promote(self.uri, DATASET, version, expected=expected, **ME)

    def rollback(self, to: str | None = None) -> str:
        return rollback(self.uri, DATASET, to=to, **ME).version

    def challenge(self, version: str) -> Pointer:
        return set_challenger(self.uri, DATASET, version, **ME)

    def moves(self, role: str = "champion") -> list[str]:
        return [move.version for move in history(self.uri, DATASET) if move.role == role]

    @property
    def folder(self) -> Path:
        return Path(self.uri) / DATASET


@pytest.fixture(params=["folder", "memory"])
def any_registry(request: pytest.FixtureRequest, tmp_path: Path):
    if request.param == "folder":
        yield Registry(str(tmp_path / "models"))
        return
    yield Registry("memory://pointers/models")
    fsspec.filesystem("memory").rm("/pointers", recursive=True)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(str(tmp_path / "models"))


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
    assert any_registry.moves("challenger") == [b, c]
    any_registry.challenge(b)
    clear_challenger(any_registry.uri, DATASET)
    clear_challenger(any_registry.uri, DATASET)
    assert any_registry.challenger is None
    assert any_registry.moves("challenger") == [b, c, b]


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


RACER = """
import sys
from pathlib import Path
from fraud_mlops.errors import RegistryError
from fraud_mlops.registry.pointers import promote
uri, dataset, version, expected, gate = sys.argv[1:]
import fraud_mlops.registry.bundle, filelock
print("ready", flush=True)
sys.stdin.readline()
try:
    promote(uri, dataset, version, expected=expected, by=version, reason="race")
    print("won")
except RegistryError as error:
    print("lost", error)
"""


def test_of_many_runs_that_promote_at_once_one_wins_and_the_others_are_told(
    registry: Registry,
) -> None:
    first, *rivals = map(registry.add, "abcde")
    registry.promote(first)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, registry.uri, DATASET, version, first, ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": str(registry.folder)},
        )
        for version in rivals
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    winners = [v for v, text in zip(rivals, said, strict=True) if text == "won"]
    assert winners == [registry.champion]
    losers = [text for text in said if text != "won"]
    assert all(text.startswith("lost motor: the champion is " + winners[0]) for text in losers)
    assert registry.moves() == [first, *winners]


def test_a_lock_beside_the_pointers_is_no_model(registry: Registry) -> None:
    """Copied or listed with the registry, it must not pass for a version."""
    a = registry.add("a")
    registry.promote(a)
    assert list_versions(registry.uri, DATASET) == [a]


def test_a_move_killed_before_it_was_recorded_is_in_the_history_all_the_same(
    registry: Registry,
) -> None:
    a, b, c = map(registry.add, "abc")
    for version in (a, b):
        registry.promote(version)
    newest = sorted((registry.folder / "history").iterdir())[-1]
    newest.unlink()  # the pointer was replaced, and then the machine went away
    assert registry.moves() == [a, b]
    registry.promote(c)
    assert registry.moves() == [a, b, c]
    assert len(list((registry.folder / "history").iterdir())) == 3


def test_the_history_is_only_ever_added_to(registry: Registry) -> None:
    a, b = map(registry.add, "ab")
    registry.promote(a)
    before = {path.name: path.read_bytes() for path in (registry.folder / "history").iterdir()}
    registry.promote(b)
    registry.rollback()
    after = {path.name: path.read_bytes() for path in (registry.folder / "history").iterdir()}
    assert before.items() <= after.items()
    assert len(after) == 3
    moves = history(registry.uri, DATASET)
    assert [(m.version, m.previous) for m in moves] == [(a, None), (b, a), (a, b)]


def test_a_clock_that_was_set_back_does_not_turn_the_history_round(registry: Registry) -> None:
    a, b = map(registry.add, "ab")
    registry.promote(a)
    path = registry.folder / "champion.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"since": "2999-01-01T00:00:00Z"}))
    registry.promote(b)
    moves = history(registry.uri, DATASET)
    assert moves[-1].version == b
    assert moves[-1].since > moves[-2].since


@pytest.mark.parametrize("text", ["", "{", "null", '{"version": 1}', '{"role": "challenger"}'])
def test_a_damaged_pointer_is_named_with_the_way_out(registry: Registry, text: str) -> None:
    a, b = map(registry.add, "ab")
    registry.promote(a)
    path = registry.folder / "champion.json"
    path.write_text(text)
    with pytest.raises(RegistryError, match=r"champion\.json: .*Delete it"):
        registry.promote(b, expected=a)
    path.unlink()
    registry.promote(b, expected=None)
    assert registry.rollback() == a, "the history knows it still"


def test_a_pointer_of_the_other_role_is_refused(registry: Registry) -> None:
    a, b = map(registry.add, "ab")
    registry.promote(a)
    registry.challenge(b)
    (registry.folder / "challenger.json").replace(registry.folder / "champion.json")
    with pytest.raises(RegistryError, match=r"champion\.json"):
        read_pointer(registry.uri, DATASET, "champion")

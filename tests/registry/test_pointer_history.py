"""Moves at once, moves that were cut short, and the history that is kept of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from pointer_kit import Registry
from registry_kit import DATASET

from fraud_mlops.errors import RegistryError
from fraud_mlops.registry.bundle import list_versions
from fraud_mlops.registry.pointers import (
    history,
    read_pointer,
)

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


def test_a_challenger_that_leads_from_now_on_is_said_to_challenge_no_more(
    registry: Registry,
) -> None:
    a, b = map(registry.add, "ab")
    registry.promote(a)
    registry.challenge(b)
    standing = (registry.folder / "challenger.json").read_bytes()
    registry.promote(b)
    last = [move for move in history(registry.uri, DATASET) if move.role == "challenger"][-1]
    assert (last.version, last.withdrawn, last.reason) == (b, True, "it is the champion")
    (registry.folder / "challenger.json").write_bytes(standing)  # killed before it was gone
    registry.promote(b)
    assert registry.challenger is None
    assert registry.moves("challenger") == [b, b]
    assert registry.rollback() == a


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

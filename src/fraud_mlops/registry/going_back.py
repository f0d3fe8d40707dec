"""Which version a champion goes back to, and which versions a person has gone back from.

The same training makes the same version again, which must not undo what a person has decided.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from fraud_mlops.errors import RegistryError
from fraud_mlops.registry.lineage import now_called
from fraud_mlops.registry.pointers import Pointer, history, promote, read_pointer

_RUN = re.compile(r"\w*Flow/\S+")
"""Metaflow's name of a run, by which its promotion is; whoever else moves a pointer is a person,
or has been told to by one."""


class _Line(NamedTuple):
    """stack: versions that led, each on the one that it replaced. left: versions that a person has
    gone back from, and the last such move."""

    stack: list[str]
    left: dict[str, Pointer]


def rollback(
    models_uri: str, dataset: str, *, to: str | None = None, by: str, reason: str
) -> Pointer:
    """Makes an earlier version champion again: `to`, or the one the current champion replaced.

    Rolling back again goes further back, never to a version that was rolled back from; that one
    comes back by its name. Raises RegistryError when there is nothing to go back to.
    """
    current = read_pointer(models_uri, dataset, "champion")
    if current is None:
        raise RegistryError(f"{dataset}: has no champion to roll back from")
    version = to or rollback_target(models_uri, dataset)
    if version is None:
        raise RegistryError(
            f"the champion {current.version} replaced none, so that there is nothing to go back "
            "to; name a version, with --to"
        )
    return promote(models_uri, dataset, version, expected=current.version, by=by, reason=reason)


def rollback_target(models_uri: str, dataset: str) -> str | None:
    """The version that `rollback` would go to; None where there is none."""
    if read_pointer(models_uri, dataset, "champion") is None:
        return None
    stack = _line(models_uri, dataset).stack
    return stack[-2] if len(stack) > 1 else None


def taken_back(models_uri: str, dataset: str, version: str) -> Pointer | None:
    """A person's move from the version to an earlier one; None where it never led, was replaced by
    a newer one or by a run, was withdrawn, so that none led, or has led again since."""
    return _line(models_uri, dataset).left.get(version)


def _line(models_uri: str, dataset: str) -> _Line:
    """Versions are stacked as they are promoted; a person that goes back to one takes off what
    came after, and a run that has made one again puts it on top.

    Versions go by what they are called now.
    """
    stack: list[str] = []
    left: dict[str, Pointer] = {}
    now = now_called(models_uri, dataset)
    for move in _champions(models_uri, dataset):
        version = now.get(move.version, move.version)
        if version in stack and _RUN.fullmatch(move.by):
            stack.remove(version)
        elif version in stack:
            at = stack.index(version)
            left |= dict.fromkeys(stack[at + 1 :], move)
            del stack[at:]
        left.pop(version, None)
        if not move.withdrawn:
            stack.append(version)
    return _Line(stack, left)


def _champions(models_uri: str, dataset: str) -> list[Pointer]:
    """Moves of the champion, oldest first, without withdrawals that were broken off: after these
    the version still led, or was replaced."""
    led = read_pointer(models_uri, dataset, "champion")
    then = led.version if led else None
    found: list[Pointer] = []
    for move in reversed(history(models_uri, dataset)):
        if move.role != "champion" or (move.withdrawn and move.version == then):
            continue
        then = then if move.withdrawn else move.previous
        found.insert(0, move)
    return found

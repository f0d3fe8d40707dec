"""Versions that led until somebody went back from them, or withdrew them.

The same training makes the same version again, which must not undo what a person has decided.
"""

from __future__ import annotations

from fraud_mlops.registry.pointers import Pointer, history


def taken_back(models_uri: str, dataset: str, version: str) -> Pointer | None:
    """The move that took the version back, to an earlier one or, `withdrawn`, to none; None where
    it never led, was replaced by a newer one only, or has led again since."""
    stack: list[str] = []
    found: dict[str, Pointer] = {}
    for move in history(models_uri, dataset):
        if move.role != "champion":
            continue
        if move.version in stack:
            at = stack.index(move.version)
            found |= dict.fromkeys(stack[at + 1 :], move)
            del stack[at:]
        if move.withdrawn:
            found[move.version] = move
        else:
            found.pop(move.version, None)
            stack.append(move.version)
    return found.get(version)

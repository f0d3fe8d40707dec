"""Writes the cards of one task as HTML files: a program that runs where a run's records are seen.

    python export_cards.py FLOW/RUN/STEP/TASK FOLDER

Prints one JSON object: file names in FOLDER by card (its id, or its type when it has none).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def export(pathspec: str, folder: Path) -> dict[str, str]:
    """Raises SystemExit that says why for a task that is not there, or has no card."""
    from metaflow.cards import get_cards
    from metaflow.exception import MetaflowException

    try:
        cards = list(get_cards(pathspec))
    except MetaflowException as error:
        raise SystemExit(str(error)) from None
    found = {}
    for number, card in enumerate(cards):
        name = f"{number}.html"
        (folder / name).write_text(card.get(), encoding="utf-8")
        found[str(card.id or card.type)] = name
    return found


if __name__ == "__main__":
    print(json.dumps(export(sys.argv[1], Path(sys.argv[2]))))

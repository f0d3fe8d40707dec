"""Writes the cards of one task as HTML files: a program that runs where a run's records are seen.

    python export_cards.py FLOW/RUN/STEP/TASK FOLDER FLOW_FILE CARD...

Prints one JSON object: file names in FOLDER by card (its id, or its type when it has none).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_CARD_SECONDS = 30


def export(pathspec: str, folder: Path, flow_file: str, cards: Sequence[str]) -> dict[str, str]:
    """Raises SystemExit that says why for a task that is not there, or has no card."""
    from metaflow.cards import get_cards
    from metaflow.exception import MetaflowException

    try:
        there = list(get_cards(pathspec))
    except (MetaflowException, OSError) as error:  # also of a service that does not answer
        if found := _by_command(pathspec, folder, flow_file, cards):
            return found
        if not (there := _in_the_datastore(pathspec)):
            raise SystemExit(str(error)) from None
    found = {}
    for number, card in enumerate(there):
        name = f"{number}.html"
        (folder / name).write_text(card.get(), encoding="utf-8")
        found[str(card.id or card.type)] = name
    return found


def _in_the_datastore(pathspec: str) -> list[Any]:
    """Cards of a run of which no record is to be had here, as one on AWS without Metaflow's
    service, or while that is away: they lie in the datastore, by the task's path."""
    from metaflow.datastore import FlowDataStore
    from metaflow.metaflow_config import DEFAULT_DATASTORE
    from metaflow.plugins import DATASTORES
    from metaflow.plugins.cards.card_client import CardContainer
    from metaflow.plugins.cards.card_datastore import CardDatastore
    from metaflow.plugins.cards.card_resolver import resolve_paths_from_task
    from metaflow.plugins.cards.exception import CardNotPresentException

    if DEFAULT_DATASTORE == "local":
        return []
    storage = next(one for one in DATASTORES if one.TYPE == DEFAULT_DATASTORE)
    flow = FlowDataStore(
        pathspec.partition("/")[0],
        environment=None,
        storage_impl=storage,
        ds_root=CardDatastore.get_storage_root(DEFAULT_DATASTORE),
    )
    try:
        return list(CardContainer(*resolve_paths_from_task(flow, pathspec=pathspec)))
    except CardNotPresentException:
        return []


def _by_command(
    pathspec: str, folder: Path, flow_file: str, cards: Sequence[str]
) -> dict[str, str]:
    """Cards as the flow's own command finds them.

    Where METAFLOW_DATASTORE_SYSROOT_LOCAL is set, Metaflow (2.19) writes cards below the folder
    that a task runs in, and its client reads them below the variable's. Its command looks where
    they were written. METAFLOW_CARD_LOCALROOT does not bring the two together: with it cards go to
    a third place.
    """
    from metaflow.metaflow_config import DATASTORE_SYSROOT_LOCAL

    if not DATASTORE_SYSROOT_LOCAL:
        return {}
    task, found = pathspec.partition("/")[2], {}
    for number, card in enumerate(cards):
        name = f"{number}.html"
        for option in ("--id", "--type"):
            command = [sys.executable, flow_file, "card", "get", task, str(folder / name)]
            subprocess.run(  # noqa: S603 - a list of arguments, no shell
                [*command, option, card], capture_output=True, timeout=_CARD_SECONDS, check=False
            )
            if (folder / name).exists():
                found[card] = name
                break
    return found


if __name__ == "__main__":
    print(json.dumps(export(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4:])))

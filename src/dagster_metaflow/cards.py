"""Cards of finished tasks as HTML files beside the reports, made while their run goes on.

Where a card will lie is known before it is rendered, so that an asset links to it at once and
waits for nothing. A card that cannot be had is a line in the log, never a failed asset.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from dagster import MetadataValue

from dagster_metaflow.backends.protocol import Backend, HasClient, MetaflowClient
from dagster_metaflow.events import Published
from dagster_metaflow.flow import MetaflowFlow
from dagster_metaflow.metadata import card_entry
from dagster_metaflow.stores import write_file

_PROGRAM = Path(__file__).with_name("export_cards.py")
_TASK_SECONDS = 60.0
_LAST_SECONDS = 30.0
"""For which the end of a run waits for cards that are still being exported."""
_LOOK_SECONDS = 0.02


class CardExporter:
    """Of one run. One task a step is shown: the one that published, else the first that finished.

    folder: of the launch in the ledger. warn: takes a line for the log. address: under which a
    browser finds that folder, if it does.
    """

    def __init__(
        self,
        flow: MetaflowFlow,
        backend: Backend,
        folder: str,
        warn: Callable[[str], None],
        address: str | None = None,
    ) -> None:
        self._flow = flow
        self._client = backend.client() if isinstance(backend, HasClient) else None
        self._folder = folder
        self._warn = warn
        self._address = address
        steps = flow.description.steps if self._client else ()
        self._cards = {step.name: step.cards for step in steps if step.cards}
        self._shown: dict[str, str] = {}
        self._expected: dict[str, None] = {}
        self._ready: list[str] = []
        self._known: set[str] = set()
        self._export: _Export | None = None

    def linked(self, published: Published) -> Published:
        """With links to the cards of its task, and of the steps that ran before it."""
        tasks = dict(self._shown)
        if (step := self._step(published.run)) is not None:
            tasks[step] = published.run
            self._shown.setdefault(step, published.run)
            self._expected[published.run] = None
        links = {
            card_entry(card): self._link(task, card)
            for step, task in tasks.items()
            for card in self._cards[step]
        }
        return dataclasses.replace(published, links=links)

    def look(self, finished: Iterable[str]) -> None:
        """Goes on with the work, and comes back at once. finished: tasks, `run/step/task`."""
        for task in finished:
            self._has_finished(f"{self._flow.name}/{task}")
        if self._export is not None and self._export.ended:
            self._store(self._export)
            self._export = None
        if self._export is None and self._ready and self._client is not None:
            task = self._ready.pop(0)
            cards = self._cards[str(self._step(task))]
            self._export = _Export(self._client, task, [str(self._flow.path), *cards])

    def finish(self, finished: Iterable[str]) -> None:
        """The run has ended: waits a moment for what is still to be exported."""
        self.look(finished)
        for task in self._expected:
            self._has_finished(task)
        deadline = time.monotonic() + _LAST_SECONDS
        while (self._export or self._ready) and time.monotonic() < deadline:
            self.look(())
            time.sleep(_LOOK_SECONDS)
        if late := [*([self._export.task] if self._export else []), *self._ready]:
            self._warn(f"Cards of {', '.join(late)} are not exported: it took too long.")
        self.close()

    def close(self) -> None:
        """Leaves no process."""
        if self._export is not None:
            self._export.kill()
            self._export = None

    def _step(self, pathspec: str) -> str | None:
        """None for what is no task of this flow, or of a step without cards."""
        flow, _, rest = pathspec.partition("/")
        parts = rest.split("/")
        known = flow == self._flow.name and len(parts) == 3 and parts[1] in self._cards
        return parts[1] if known else None

    def _has_finished(self, task: str) -> None:
        step = self._step(task)
        if step is None or task in self._known:
            return
        if self._shown.setdefault(step, task) == task or task in self._expected:
            self._known.add(task)
            self._ready.append(task)

    def _link(self, task: str, card: str) -> MetadataValue:
        if self._address is None:
            return MetadataValue.path(self._place(task, card))
        return MetadataValue.url(f"{self._address}/{self._name(task, card)}")

    def _place(self, task: str, card: str) -> str:
        return f"{self._folder}/{self._name(task, card)}"

    @staticmethod
    def _name(task: str, card: str) -> str:
        _, run, step, number = task.split("/")
        name = re.sub(r"[^A-Za-z0-9._-]", "_", f"card-{step}-{card}-{run}-{number}")
        return f"{name}.html"

    def _store(self, export: _Export) -> None:
        try:
            pages = export.pages()
            for card, page in pages.items():
                write_file(self._place(export.task, card), page)
        except (OSError, ValueError) as error:
            self._warn(f"Cards of {export.task} cannot be exported: {error}")
            return
        missing = set(self._cards[str(self._step(export.task))]) - pages.keys()
        if missing:
            self._warn(f"{export.task} has no card {', '.join(sorted(missing))}.")


class _Export:
    """A process that asks Metaflow's client for the cards of one task. which: flow file, cards."""

    def __init__(self, client: MetaflowClient, task: str, which: Sequence[str]) -> None:
        self.task = task
        self._folder = tempfile.TemporaryDirectory(prefix="dagster_metaflow_cards_")
        self._deadline = time.monotonic() + _TASK_SECONDS
        self._process: subprocess.Popen[bytes] | None = None
        self._error = ""
        try:
            with (self._path / "out").open("wb") as out, (self._path / "err").open("wb") as err:
                self._process = subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
                    [client.python, "-P", str(_PROGRAM), task, self._folder.name, *which],
                    cwd=client.working_directory,
                    env={**os.environ, **client.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                )
        except OSError as error:
            self._error = str(error)

    @property
    def _path(self) -> Path:
        return Path(self._folder.name)

    @property
    def ended(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            return True
        if time.monotonic() > self._deadline:
            self._error = f"it took longer than {_TASK_SECONDS:g} s"
            self._process.kill()
            self._process.wait()
        return self._process.returncode is not None

    def pages(self) -> Mapping[str, bytes]:
        """HTML by card. Raises ValueError that says why there is none."""
        try:
            if self._error or self._process is None or self._process.returncode != 0:
                words = (self._path / "err").read_text("utf-8", "replace").strip().splitlines()
                raise ValueError(self._error or (words or ["no reason was given"])[-1])
            names: dict[str, str] = json.loads((self._path / "out").read_text("utf-8"))
            return {card: (self._path / name).read_bytes() for card, name in names.items()}
        finally:
            self._folder.cleanup()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

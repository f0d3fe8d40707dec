"""Runs a flow whose variables hold secrets, so that the logs that Metaflow keeps hold none.

    python -m dagster_metaflow.backends.databricks_flow flows/a_flow.py run ...

Metaflow's scheduler reads what its tasks say, and writes it to the datastore itself, past whoever
reads the scheduler. So it is masked where the scheduler reads it; Metaflow has no setting for that.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from dagster_metaflow.backends.databricks_masking import MASKED, masker

_SCHEDULER = "metaflow.runtime"


class MasksLogsOfTasks(MetaPathFinder):
    """When the flow imports Metaflow, and not before: it reads its settings as it is imported, and
    the flow may set some."""

    def __init__(self, masked: Callable[[str], str]) -> None:
        self.masked = masked

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        if name != _SCHEDULER:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        assert spec is not None  # noqa: S101 - its package has just been imported
        loader: Any = spec.loader
        execute = loader.exec_module

        def then_mask(module: ModuleType) -> None:
            execute(module)
            self.mask(module.Worker)

        loader.exec_module = then_mask
        return spec

    def mask(self, worker: Any) -> None:
        kept = worker.emit_log

        def emit(one: Any, line: bytes, *rest: Any, **more: Any) -> None:
            # surrogateescape: a line need not be UTF-8, and stays as it is but for the secret.
            text = self.masked(line.decode("utf-8", "surrogateescape"))
            kept(one, text.encode("utf-8", "surrogateescape"), *rest, **more)

        worker.emit_log = emit


def main() -> None:
    names = filter(None, os.environ.get(MASKED, "").split(","))
    sys.meta_path.insert(0, MasksLogsOfTasks(masker(os.environ[name] for name in names)))
    # As Python does it for a file that it is given.
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()

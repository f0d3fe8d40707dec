"""Runs a flow whose variables hold secrets, so that the logs that Metaflow keeps hold none.

    python -m dagster_metaflow.backends.databricks_flow flows/a_flow.py run ...

Metaflow's scheduler reads what its tasks say, and writes it to the datastore itself, past whoever
reads the scheduler. So it is masked where the scheduler reads it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dagster_metaflow.backends.databricks_masking import MASKED, masker


def mask_logs_of_tasks(masked: Callable[[str], str]) -> None:
    """Metaflow has no setting for it."""
    from metaflow.runtime import Worker

    kept = Worker.emit_log

    def emit(self: Any, line: bytes, *rest: Any, **more: Any) -> None:
        # surrogateescape: a line need not be UTF-8, and stays as it is but for the secret.
        text = masked(line.decode("utf-8", "surrogateescape"))
        kept(self, text.encode("utf-8", "surrogateescape"), *rest, **more)

    Worker.emit_log = emit


def main() -> None:
    names = filter(None, os.environ.get(MASKED, "").split(","))
    mask_logs_of_tasks(masker(os.environ[name] for name in names))
    del sys.argv[0]
    run_here(Path(sys.argv[0]))


def run_here(file: Path) -> None:
    """As Python does it for a file that it is given: in `__main__`, and not in one like it, since
    Metaflow has put classes into it by now, which it looks for there."""
    sys.path[0] = str(file.parent)
    names = vars(sys.modules["__main__"])
    names.update(__file__=str(file), __spec__=None, __package__=None, __doc__=None)
    code = compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
    exec(code, names)  # noqa: S102 - the flow that is run


if __name__ == "__main__":
    main()

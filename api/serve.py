"""uvicorn with metrics of all its workers: `python -m api.serve --workers 4`, and its options.

What each worker counts lies in a folder that all of them share. prometheus_client has to know it
before the app is imported, and takes what an earlier start has left there for its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

import click
from dotenv import load_dotenv

from api.settings import api_settings
from api.starting import check, or_end
from fraud_mlops.settings import settings

SHARED = "PROMETHEUS_MULTIPROC_DIR"


def main(options: list[str]) -> None:
    """The folder is that of PROMETHEUS_MULTIPROC_DIR, emptied; or, when unset, a temporary one.

    Ends with 1 and a sentence where a setting is wrong.
    """
    from uvicorn.main import main as uvicorn

    # Without WebSockets a handshake is a request as any other, which the app sees and logs.
    command = ["api.app:app", "--ws", "none", *options]
    _take_env_file(uvicorn, command)
    or_end(lambda: check(api_settings(), settings()))
    with contextlib.ExitStack() as stack:
        folder = Path(os.environ.get(SHARED) or _temporary(stack))
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.glob("*.db"):
            file.unlink()
        os.environ[SHARED] = str(folder)
        uvicorn(command, prog_name="python -m api.serve")


def _take_env_file(uvicorn: click.Command, command: list[str]) -> None:
    """That of `--env-file` or UVICORN_ENV_FILE, as uvicorn will: the settings are read before it
    does, and kept. What is wrong with the command is uvicorn's to say."""
    given = uvicorn.make_context(None, list(command), resilient_parsing=True).params
    if file := given.get("env_file"):
        load_dotenv(file)


def _temporary(stack: contextlib.ExitStack) -> str:
    """Removed with the stack, and on SIGTERM: once a single worker has stopped, uvicorn raises it
    again for whoever handled it before, and by default the process ends there and then."""

    def ended(number: int, _: FrameType | None) -> None:
        stack.close()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    made = tempfile.TemporaryDirectory(prefix="fraud-api-metrics-", ignore_cleanup_errors=True)
    name = stack.enter_context(made)
    signal.signal(signal.SIGTERM, ended)
    return name


if __name__ == "__main__":
    main(sys.argv[1:])

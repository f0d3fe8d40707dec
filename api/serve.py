"""uvicorn with metrics of all its workers: `python -m api.serve --workers 4`, and its options.

What each worker counts lies in a folder that all of them share. prometheus_client has to know it
before the app is imported, and takes what an earlier start has left there for its own.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

SHARED = "PROMETHEUS_MULTIPROC_DIR"


def main(options: list[str]) -> None:
    """The folder is that of PROMETHEUS_MULTIPROC_DIR, emptied; or a temporary one."""
    from uvicorn.main import main as uvicorn

    with tempfile.TemporaryDirectory(prefix="fraud-api-metrics-") as temporary:
        folder = Path(os.environ.get(SHARED) or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.glob("*.db"):
            file.unlink()
        os.environ[SHARED] = str(folder)
        uvicorn(["api.app:app", *options], prog_name="python -m api.serve")


if __name__ == "__main__":
    main(sys.argv[1:])

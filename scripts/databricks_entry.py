"""What Databricks runs: finds the checkout it is in, and hands over to the library there.

A Python file of a Git source is not run as a module: it has no `__file__`, and `sys.argv[0]` need
not be its name. So the checkout is looked for above the name that this code was compiled under,
above `sys.argv[0]`, and above the working folder. `sys.exit` would be an error here, even with 0.
"""

import sys
from pathlib import Path

_MARK = "src/dagster_metaflow/backends/databricks_driver.py"


def checkout() -> Path:
    """The nearest folder above any of these that has the library in it."""
    starts = [Path(checkout.__code__.co_filename), Path(sys.argv[0]), Path.cwd() / "x"]
    starts += [Path(entry) / "x" for entry in sys.path if entry]
    for start in starts:
        for folder in start.absolute().parents:
            if (folder / _MARK).is_file():
                return folder
    places = ", ".join(sorted({str(start.parent) for start in starts[:3]}))
    raise RuntimeError(f"the checkout with {_MARK} is not found above any of: {places}")


root = checkout()
sys.path.insert(0, str(root / "src"))

from dagster_metaflow.backends.databricks_driver import main  # noqa: E402 - found just above

main(sys.argv[1:], root)

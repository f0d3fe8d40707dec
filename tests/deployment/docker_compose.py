"""What stands for `docker compose`: a part of its command line, over `composed`.

python docker_compose.py FILE compose [OPTIONS] COMMAND ...
"""

from __future__ import annotations

import sys
from pathlib import Path

from composed import Composed


def main(arguments: list[str]) -> int:
    """A subset of the command line of docker compose."""
    composed = Composed.load(Path(arguments.pop(0)))
    assert arguments.pop(0) == "compose"
    options = {"-d", "--wait", "--rm", "-T", "--no-deps"}
    while arguments and arguments[0] in {"--project-directory"}:
        del arguments[:2]
    what, *rest = arguments
    while rest and rest[0] in options:
        rest.pop(0)
    if what == "up":
        composed.up(rest)
    elif what == "stop":
        composed.stop(rest)
    elif what == "restart":
        composed.stop(rest)
        composed.up(rest)
    elif what in ("run", "exec"):
        name, *command = rest
        if what == "run":
            composed.prepare(name)
        return composed.run(name, command).returncode
    else:
        raise SystemExit(f"docker_compose.py does not know `{what}`")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Strings that look like secrets in what Git tracks, by detect-secrets.

    python scripts/ci_secrets.py [--output FILE] [--update]

Where GIT_PREVIOUS_SUCCESSFUL_COMMIT is set, as Jenkins' Git plugin does, only files that changed
since are looked at; all of them where Git does not know that commit any more. .secrets.baseline
holds those that somebody has looked at; --update writes it. Tests invent passwords all the time: in
them only what has the shape of a real key counts. Ends with 1 when there are others.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

BASELINE = Path(".secrets.baseline")
_PASSED_OVER = (".png", ".svg", ".ico", ".parquet", ".baseline", ".lock", "examples/champion.json")
"""Pictures and data; the last two are full of hashes."""

_INVENTED = {
    "Secret Keyword",
    "Basic Auth Credentials",
    "Hex High Entropy String",
    "JSON Web Token",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="a JSON file of what was found")
    parser.add_argument("--update", action="store_true", help="take all of it as looked at")
    arguments = parser.parse_args()
    found = _scan(_files(None if arguments.update else os.environ.get(_SINCE)))
    if arguments.update:
        BASELINE.write_text(json.dumps(found, indent=1) + "\n")
        return 0
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else []
    seen = {(one["file"], one["hash"]) for one in known}
    new = [one for one in found if (one["file"], one["hash"]) not in seen]
    if arguments.output:
        arguments.output.write_text(json.dumps(new, indent=1) + "\n")
    for one in new:
        print(f"{one['file']}:{one['line']}: {one['type']}")
    print(f"{len(new)} strings that look like secrets; {len(seen)} were looked at")
    return 1 if new else 0


_SINCE = "GIT_PREVIOUS_SUCCESSFUL_COMMIT"


def _files(since: str | None) -> list[str]:
    listed = _git("diff", "--name-only", "-z", "--diff-filter=d", since) if since else None
    if listed is None or listed.returncode:
        listed = _git("ls-files", "-z")
    listed.check_returncode()
    return [name for name in listed.stdout.split("\0") if name and not name.endswith(_PASSED_OVER)]


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], capture_output=True, text=True)  # noqa: S603, S607 - our own


def _scan(files: list[str]) -> list[dict[str, Any]]:
    from detect_secrets.core.secrets_collection import SecretsCollection
    from detect_secrets.settings import default_settings

    collection = SecretsCollection()
    with default_settings():
        for name in files:
            collection.scan_file(name)
    return [
        {
            "file": name,
            "line": one["line_number"],
            "type": one["type"],
            "hash": one["hashed_secret"],
        }
        for name, secrets in sorted(collection.json().items())
        for one in secrets
        if not (name.startswith("tests/") and one["type"] in _INVENTED)
    ]


if __name__ == "__main__":
    sys.exit(main())

"""What stands for `kubectl` where there is no cluster: what was made, as files of a folder.

python kubectl.py FOLDER -n NAMESPACE (get | create) secret ... | replace -f - | apply -f FOLDER
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def main(folder: Path, arguments: list[str]) -> None:
    """The few lines of kubectl that the pages have, each as it stands there."""
    assert arguments[:2] == ["-n", "fraud"]
    match arguments[2:]:
        case ["get", "secret", name, "-o", r"jsonpath={.data.keys\.json}"]:
            sys.stdout.write(yaml.safe_load((folder / name).read_text())["data"]["keys.json"])
        case ["create", "secret", "generic", name, given, "--dry-run=client", "-o", "yaml"]:
            sys.stdout.write(secret(name, Path(given.removeprefix("--from-file="))))
        case ["create", "secret", "generic", name, given]:
            with (folder / name).open("x") as file:
                file.write(secret(name, Path(given.removeprefix("--from-file="))))
        case ["apply", "-f", given]:
            for path in (ROOT / given).glob("*.yaml"):
                (folder / path.name).write_text(path.read_text())
        case ["replace", "-f", "-"]:
            text = sys.stdin.read()
            (file,) = folder.glob(yaml.safe_load(text)["metadata"]["name"])  # one that is there
            file.write_text(text)
        case other:
            raise SystemExit(f"kubectl.py does not know {other}")


def secret(name: str, file: Path) -> str:
    data = {file.name: base64.b64encode(file.read_bytes()).decode()}
    made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "fraud"}}
    return yaml.safe_dump({**made, "type": "Opaque", "data": data})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

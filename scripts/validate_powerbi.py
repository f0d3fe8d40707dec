"""Holds infra/powerbi against Microsoft's JSON schemas.

    git clone --depth 1 https://github.com/microsoft/json-schemas
    python scripts/validate_powerbi.py json-schemas

Every JSON file of the project names its schema; what that file lacks, or has too much, is told with
its path. Ends with 0 when nothing is. TMDL has no schema: tests/powerbi reads it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1] / "infra" / "powerbi"
ADDRESS = "https://developer.microsoft.com/json-schemas/"
JSON_SUFFIXES = {".json", ".pbip", ".pbir", ".pbism"}


def main() -> int:
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "fabric").is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    wrong = list(complaints(Path(sys.argv[1])))
    for line in wrong:
        print(line)
    print(f"{len(json_files())} files, {len(wrong)} complaints")
    return 1 if wrong else 0


def json_files() -> list[Path]:
    found = (path for path in PROJECT.rglob("*") if path.is_file())
    return sorted(p for p in found if p.suffix in JSON_SUFFIXES or p.name == ".platform")


def complaints(schemas: Path) -> Iterator[str]:
    from jsonschema import Draft7Validator
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT7

    def retrieve(uri: str) -> Resource[Any]:
        text = (schemas / uri.removeprefix(ADDRESS)).read_text(encoding="utf-8")
        return Resource.from_contents(json.loads(text), default_specification=DRAFT7)

    registry: Registry[Any] = Registry(retrieve=retrieve)  # type: ignore[call-arg]
    for path in json_files():
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = registry.get_or_retrieve(content["$schema"]).value.contents
        for error in Draft7Validator(schema, registry=registry).iter_errors(content):
            yield f"{path.relative_to(PROJECT)} {error.json_path}: {error.message[:300]}"


if __name__ == "__main__":
    sys.exit(main())

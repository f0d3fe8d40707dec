"""Holds infra/powerbi against Microsoft's JSON schemas.

    python scripts/validate_powerbi.py [SCHEMAS]

Every JSON file of the project names its schema; what that file lacks, or has too much, is told with
its path. Ends with 0 when nothing is. SCHEMAS is a clone of github.com/microsoft/json-schemas;
without it the copies in tests/powerbi/schemas are taken. TMDL has no schema: tests/powerbi reads
it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "infra" / "powerbi"
SCHEMAS = ROOT / "tests" / "powerbi" / "schemas"
ADDRESS = "https://developer.microsoft.com/json-schemas/"
JSON_SUFFIXES = {".json", ".pbip", ".pbir", ".pbism"}


def main() -> int:
    schemas = Path(sys.argv[1]) if len(sys.argv) > 1 else SCHEMAS
    if len(sys.argv) > 2 or not (schemas / "fabric").is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    try:
        wrong = list(complaints(schemas))
    except ModuleNotFoundError as error:
        if error.name not in ("jsonschema", "referencing"):
            raise
        print(f"Error: {error.name} is not installed; pip install jsonschema", file=sys.stderr)
        return 1
    for line in wrong:
        print(line)
    print(f"{len(json_files())} files, {len(wrong)} complaints")
    return 1 if wrong else 0


def json_files(project: Path = PROJECT) -> list[Path]:
    found = (path for path in project.rglob("*") if path.is_file())
    return sorted(p for p in found if p.suffix in JSON_SUFFIXES or p.name == ".platform")


def complaints(schemas: Path = SCHEMAS, project: Path = PROJECT) -> Iterator[str]:
    from jsonschema import Draft7Validator
    from referencing import Registry, Resource
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT7

    def retrieve(uri: str) -> Resource[Any]:
        text = (schemas / uri.removeprefix(ADDRESS)).read_text(encoding="utf-8-sig")
        return Resource.from_contents(json.loads(text), default_specification=DRAFT7)

    registry: Registry[Any] = Registry(retrieve=retrieve)  # type: ignore[call-arg]
    for path in json_files(project):
        name = path.relative_to(project)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            yield f"{name}: is no JSON: {error}"
            continue
        address = content.get("$schema", "")
        if not (schemas / address.removeprefix(ADDRESS)).is_file():
            yield f"{name} $.$schema: {address or 'nothing'} is none of the schemas in {schemas}"
            continue
        schema = registry.get_or_retrieve(address).value.contents
        try:
            for wrong in Draft7Validator(schema, registry=registry).iter_errors(content):
                yield f"{name} {wrong.json_path}: {wrong.message[:300]}"
        except Unresolvable as missing:
            yield f"{name}: its schema refers to what is not in {schemas}: {missing}"


if __name__ == "__main__":
    sys.exit(main())

"""The documentation site, from docs/ and from what the code says of itself.

    python scripts/build_docs.py [--only-pages]

puts pages together in build/docs and builds build/site from them (mkdocs.yml) with warnings as
errors. Generated are the HTTP API, from its OpenAPI description, and the model card: of the
champion of the first dataset in FRAUD_DATASETS where the registry has one, else of the example in
docs/examples. What pages link to elsewhere in the repository comes along under project/.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = Path("docs/examples/champion.json")
ALSO = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "src/dagster_metaflow/README.md",
    "infra/powerbi/README.md",
)
GENERATED = {Path("docs/reference/http-api.md"), Path("docs/model-card.md")}
_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
_FENCE = re.compile(r"^( *)```(\w*)[^\n]*$(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only-pages", action="store_true", help="build/docs, and no site")
    arguments = parser.parse_args()
    pages = ROOT / "build" / "docs"
    put_together(pages)
    if arguments.only_pages:
        return 0
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603 - our own


def put_together(pages: Path) -> None:
    """Makes the folder anew."""
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(ROOT / "docs" / "images", pages / "images")
    waiting = [path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")]
    waiting += [Path(name) for name in ALSO]
    done: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in done:
            continue
        done.add(path)
        target = pages / place_of(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            text, linked = moved((ROOT / path).read_text(encoding="utf-8"), path)
            target.write_text(highlighted(text), encoding="utf-8")
            waiting += linked
        else:
            shutil.copy(ROOT / path, target)
    for name, text in generated():
        (pages / name).parent.mkdir(parents=True, exist_ok=True)
        (pages / name).write_text(text, encoding="utf-8")


def place_of(path: Path) -> Path:
    """Of a file of the repository, on the site."""
    if path == Path("README.md"):
        return Path("index.md")
    return path.relative_to("docs") if path.parts[0] == "docs" else Path("project") / path


def moved(text: str, path: Path) -> tuple[str, list[Path]]:
    """A page with its links as they are on the site, and the files that they lead to."""
    linked: list[Path] = []

    def one(match: re.Match[str]) -> str:
        there = (ROOT / path).parent / match[1]
        if there.is_dir():
            there /= "README.md"
        inside = Path(*there.resolve().relative_to(ROOT).parts)
        if inside in GENERATED:
            return match[0]
        if not there.is_file():
            raise SystemExit(f"{path}: links to {match[1]}, which is not there")
        if inside.suffix != ".md" or inside.parts[0] != "docs":
            linked.append(inside)
        climb = "../" * (len(place_of(path).parts) - 1)
        return f"{climb}{place_of(inside).as_posix()}{match[2] or ''}"

    return _LINK.sub(one, text), [file for file in linked if file != Path("README.md")]


def highlighted(text: str) -> str:
    """A block without a language is what one types; what tests note behind one is not shown."""
    return _FENCE.sub(lambda m: f"{m[1]}```{m[2] or 'sh'}{m[3]}{m[1]}```", text)


def generated() -> Iterator[tuple[str, str]]:
    yield "reference/http-api.md", http_api()
    yield "model-card.md", card()


def card() -> str:
    from fraud_mlops.catalog import load
    from fraud_mlops.registry.bundle import Manifest, read_manifest
    from fraud_mlops.registry.pointers import read_pointer
    from fraud_mlops.reporting.model_card import model_card
    from fraud_mlops.settings import settings

    given = settings()
    models = given.model_uri or f"{given.lakehouse_uri.rstrip('/')}/models"
    dataset = load(given.datasets.split(",")[0].strip()).name
    pointer = read_pointer(models, dataset, "champion")
    if pointer:
        return model_card(read_manifest(models, dataset, pointer.version), pointer)
    text = (ROOT / EXAMPLE).read_text(encoding="utf-8")
    note = (
        "Of a champion of the quick start's dataset with 20,000 claims; "
        "`fraud-mlops model-card` writes yours."
    )
    made = model_card(Manifest.model_validate_json(text))
    head, _, rest = made.partition("\n\n")
    return f"{head}\n\n{note}\n\n{rest}"


def http_api() -> str:
    """From the description that the API gives without a model, of fixed paths."""
    from api.openapi import describe

    described = describe(None)
    parts = [
        "# HTTP API",
        "Made from the API's own OpenAPI description. A running server gives it whole at "
        "`/openapi.json`, with the schema of the claims that it serves; [the page on the "
        "API](../api.md) says how it is meant.",
    ]
    for path, methods in described["paths"].items():
        for method, told in methods.items():
            parts.append(_operation(f"{method.upper()} {path}", told))
    parts.append("## Schemas")
    schemas = described["components"]["schemas"]
    parts += [_schema(name, schema) for name, schema in schemas.items() if "properties" in schema]
    return "\n\n".join(parts) + "\n"


def _operation(title: str, told: dict[str, Any]) -> str:
    lines = [f"## `{title}`", "", f"{told['summary']}.", ""]
    if body := told.get("requestBody"):
        lines += [f"Takes {', '.join(f'`{kind}`' for kind in body['content'])}.", ""]
    for parameter in told.get("parameters", ()):
        schema = parameter["schema"]
        words = ", ".join(f"`{value}`" for value in schema.get("enum", ()))
        lines += [
            f"`?{parameter['name']}=`: {parameter['description']} {words}; "
            f"`{schema.get('default')}` when left out.",
            "",
        ]
    lines += ["| status | | content |", "|---|---|---|"]
    for status, answer in sorted(told["responses"].items()):
        kinds = ", ".join(f"`{kind}`" for kind in answer.get("content", ()))
        lines.append(f"| {status} | {answer['description']} | {kinds} |")
    return "\n".join(lines)


def _schema(name: str, schema: dict[str, Any]) -> str:
    lines = [f"### {name}", "", "| field | type | |", "|---|---|---|"]
    required = set(schema.get("required", ()))
    for field, told in schema["properties"].items():
        notes = [told.get("description", ""), "" if field in required else "may be missing"]
        lines.append(f"| `{field}` | {_kind(told)} | {' '.join(filter(None, notes))} |")
    return "\n".join(lines)


def _kind(told: dict[str, Any]) -> str:
    if "$ref" in told:
        return str(told["$ref"]).rpartition("/")[2]
    if "enum" in told:
        return ", ".join(f"`{value}`" for value in told["enum"])
    kind = told.get("type", "any")
    if kind == "array":
        return f"list of {_kind(told.get('items', {}))}"
    return " or ".join(kind) if isinstance(kind, list) else str(told.get("format", kind))


if __name__ == "__main__":
    sys.exit(main())

"""docs/contract.md and the contract say the same: no field without a line, nor a line too many."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fraud_mlops.contract import Contract

PAGE = Path(__file__).parents[2] / "docs" / "contract.md"
ROW = re.compile(r"^\| `([a-z_.]+)` \| (.*?) ?\| ", re.MULTILINE)


def models(kind: Any) -> Iterator[type[BaseModel]]:
    """The models that a field may hold, through unions and annotations."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for inner in get_args(kind):
        yield from models(inner)


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        inside = [m for m in models(field.annotation) if m.__name__ != "Window"]
        for inner in inside:
            yield from fields(inner, f"{path}.")
        if not inside:
            yield path, field


DOCUMENTED = dict(ROW.findall(PAGE.read_text(encoding="utf-8")))
FIELDS = dict(fields(Contract))


def test_every_field_has_a_line_and_every_line_a_field() -> None:
    assert len(FIELDS) > 50
    assert DOCUMENTED.keys() - FIELDS.keys() == set()
    assert FIELDS.keys() - DOCUMENTED.keys() == set()


@pytest.mark.parametrize(
    "path", [n for n, f in FIELDS.items() if isinstance(f.default, (bool, int, float, str))]
)
def test_defaults_are_those_of_the_contract(path: str) -> None:
    default = FIELDS[path].default
    expected = str(default).lower() if isinstance(default, bool) else str(default)
    assert DOCUMENTED[path].strip("`") == expected

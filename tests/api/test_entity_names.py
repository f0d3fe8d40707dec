"""An entity may be called as anything of Python's or pydantic's, and be looked up and brought."""

from __future__ import annotations

import json

import pytest
from api_kit import Published
from test_claim_schema import made

ENTITIES = ("model_dump", "model_config", "copy", "schema")


@pytest.mark.parametrize("entity", ENTITIES)
def test_an_entity_of_any_name(published: Published, entity: str) -> None:
    reader = made(published, entities={entity: "provider"})
    history = f"{entity}_claims_7d"
    sent = {entity: "PRV-1", "features": {history: 4, f"{entity}_days_since_last": None}}
    claim = reader.read(json.dumps(sent).encode())
    claim = claim.model_copy(update={"event_time": None})
    assert reader.word(claim, entity) == "PRV-1"
    assert reader.brought(claim) == {history: 4.0, f"{entity}_days_since_last": None}
    properties = reader.schema()["properties"]
    assert {entity, "features"} < set(properties)
    assert not [name for name in properties if name.startswith("field_")]

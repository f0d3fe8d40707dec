"""The API's own app with one more endpoint: a claim is read, validated and given back."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, create_model

from api.app import app as app
from api.settings import api_settings
from fraud_mlops import catalog

_CONTRACT = catalog.load(api_settings().dataset)
_TEXT = ("claim_id", "event_time", *_CONTRACT.entities, *(_CONTRACT.categorical or ()))
_FIELDS: dict[str, Any] = dict.fromkeys(_TEXT, (str | None, None))
_FIELDS |= dict.fromkeys(("amount", *(_CONTRACT.numeric or ())), (float | None, None))
Claim: type[BaseModel] = create_model("EchoedClaim", **_FIELDS)


@app.post("/echo")
async def echo(claim: Claim) -> Claim:
    return claim

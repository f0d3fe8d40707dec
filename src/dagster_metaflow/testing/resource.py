"""The resource over a scripted backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster_metaflow.backends.protocol import Backend
from dagster_metaflow.resource import MetaflowResource


def scripted_resource(backend: Backend, ledger_root: str, **settings: Any) -> MetaflowResource:
    """A resource whose runs are played by `backend`; put it where definitions want `metaflow`.

    ledger_root: a folder of the test. settings: others of `MetaflowResource`.
    """

    class Scripted(MetaflowResource):
        def backends(self) -> Mapping[str, Backend]:
            return {"scripted": backend}

    given = {"poll_seconds": 0.01, **settings}
    return Scripted(ledger_root=ledger_root, backend="scripted", **given)

"""Files that a run reads as it begins, brought to where its tasks can read them."""

from __future__ import annotations

import dataclasses
import hashlib
import posixpath
from pathlib import Path

from dagster_metaflow.backends.protocol import LaunchError, LaunchRequest
from dagster_metaflow.stores import write_file


def travelled(request: LaunchRequest) -> LaunchRequest:
    """The request with addresses in the ledger's store in the place of paths of its inputs.

    A file's address holds the hash of its content: the same file is written to the same place.
    Where the ledger is a folder of this machine, tasks see this machine's files, and none travels.
    """
    store = request.ledger_root
    if not request.inputs or "://" not in store or store.startswith("file://"):
        return request
    known = {str(path): path for path in request.inputs}
    parameters = {
        option: _brought(known[value], store) if value in known else value
        for option, value in request.parameters.items()
        if isinstance(value, str)
    }
    return dataclasses.replace(request, parameters={**request.parameters, **parameters})


def _brought(path: Path, store: str) -> str:
    try:
        data = path.read_bytes()
        uri = posixpath.join(store, "_inputs", hashlib.sha256(data).hexdigest()[:16], path.name)
        write_file(uri, data)
    except OSError as error:
        raise LaunchError(f"{path} cannot be brought to {store}: {error}") from None
    return uri

"""What a run elsewhere can reach: files that it reads as it begins are brought to it, and a ledger
that is a folder of this machine is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import posixpath
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from dagster_metaflow.backends.protocol import LaunchError, LaunchRequest, UsageError
from dagster_metaflow.stores import is_folder, write_file


def travelled(request: LaunchRequest) -> LaunchRequest:
    """The request with addresses in the ledger's store in the place of paths of its inputs.

    A file's address holds the hash of its content: the same file is written to the same place.
    Where the ledger is a folder of this machine, tasks see this machine's files, and none travels.
    """
    store = request.ledger_root
    if not request.inputs or is_folder(store):
        return request
    known = {str(path): path for path in request.inputs}
    parameters = {
        option: _brought(known[value], store) if value in known else value
        for option, value in request.parameters.items()
        if isinstance(value, str)
    }
    return dataclasses.replace(request, parameters={**request.parameters, **parameters})


def refuse_folder(request: LaunchRequest, known: Mapping[str, str]) -> None:
    """Tasks would write to a folder of that name in their containers, which goes away with them.

    known: variables of the backend. Raises UsageError; not where AWS itself is this machine, as in
    tests.
    """
    store = request.ledger_root
    if store and is_folder(store) and not is_here(known.get("AWS_ENDPOINT_URL")):
        raise UsageError(
            f"to run on AWS a store is missing that its tasks reach, s3://... (LAKEHOUSE_URI): "
            f"{store} is a folder of this machine"
        )


def is_here(address: str | None) -> bool:
    """What runs there is on this machine, as in tests, and sees its folders."""
    return urlsplit(address or "").hostname in ("127.0.0.1", "localhost")


def _brought(path: Path, store: str) -> str:
    try:
        data = path.read_bytes()
        uri = posixpath.join(store, "_inputs", hashlib.sha256(data).hexdigest()[:16], path.name)
        write_file(uri, data)
    except OSError as error:
        raise LaunchError(f"{path} cannot be brought to {store}: {error}") from None
    return uri

"""What a run elsewhere can reach: files that it reads as it begins are brought to it, and a ledger
that is a folder of this machine is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import posixpath
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from dagster_metaflow.backends.protocol import LaunchError, LaunchRequest, UsageError
from dagster_metaflow.stores import is_folder, write_file

SHARED = "SHARED_FOLDERS"
"""Variable: folders, with ":" between, that this machine and tasks elsewhere have mounted alike."""


def travelled(request: LaunchRequest, known: Mapping[str, str]) -> LaunchRequest:
    """The request with addresses in the ledger's store in the place of paths of its inputs.

    A file's address holds the hash of its content: the same file is written to the same place.
    Where the ledger is in a folder that tasks have mounted too, inputs that are in one stay.
    known: variables of the backend.
    """
    store = request.ledger_root
    inputs = {
        str(path): path
        for path in request.inputs
        if not is_folder(store) or is_lost(str(path), known)
    }
    if not inputs:
        return request
    parameters = {
        option: _brought(inputs[value], store) if value in inputs else value
        for option, value in request.parameters.items()
        if isinstance(value, str)
    }
    return dataclasses.replace(request, parameters={**request.parameters, **parameters})


def refuse_folder(request: LaunchRequest, known: Mapping[str, str]) -> None:
    """Tasks would write to a folder of that name in their containers, which goes away with them.

    known: variables of the backend. Raises UsageError.
    """
    store = request.ledger_root
    if store and is_lost(store, known):
        raise UsageError(
            f"to run on AWS a store is missing that its tasks reach, s3://... (LAKEHOUSE_URI): "
            f"{store} is a folder of this machine, and not in one of SHARED_FOLDERS"
        )


def is_lost(uri: str, known: Mapping[str, str]) -> bool:
    """A folder that goes with the machine that a task elsewhere runs on: none of SHARED_FOLDERS."""
    if not is_folder(uri.lower()):
        return False
    path = posixpath.normpath(uri.removeprefix("file://"))
    shared = [folder for folder in known.get(SHARED, "").split(":") if folder]
    return not any(PurePosixPath(path).is_relative_to(folder) for folder in shared)


def _brought(path: Path, store: str) -> str:
    try:
        data = path.read_bytes()
        uri = posixpath.join(store, "_inputs", hashlib.sha256(data).hexdigest()[:16], path.name)
        write_file(uri, data)
    except OSError as error:
        raise LaunchError(f"{path} cannot be brought to {store}: {error}") from None
    return uri

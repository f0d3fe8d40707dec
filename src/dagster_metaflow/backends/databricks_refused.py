"""What a run on Databricks is not given: it is read by many, and its driver's disk goes with it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from dagster_metaflow.backends.protocol import UsageError
from dagster_metaflow.backends.secret_names import of_option
from dagster_metaflow.backends.travelling import SHARED, is_lost

_CREDENTIAL = re.compile(
    r"://[^?#\s]*:[^?#\s@]*@|https?://[^/?#\s]*@"  # a login; a password may hold a slash
    r"|[?&](sig|signature|x-amz-\w+|x-goog-\w+|\w*token|\w*key|\w*secret|password|pwd)="
    r"|(AccountKey|SharedAccessKey|SharedAccessSignature|Password|Pwd)="
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\b(authorization|(x-)?api-key)\b[\"']?\s*[:=]|\bbearer\s+\S",
    re.IGNORECASE,
)
_TOKEN = re.compile(  # by the form that their makers give them
    r"\bdapi[0-9a-f]{32}|\bgh[opsur]_\w{30}|\bgithub_pat_\w{20}|\bglpat-[\w-]{20}|\bhf_\w{30}"
    r"|\b(AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{35}|\bxox[abeprs]-[\w-]{10}|\bsk_live_\w{20}"
    r"|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.|\b\w{3}[78]Q~[\w.~-]{30}"
)
_HARMLESS = re.compile(r"(true|false|yes|no|on|off|[\d.]*)", re.IGNORECASE)

_VOLUMES = "/Volumes"
"""Of a workspace, which outlive a driver."""


def refuse_credentials(arguments: Sequence[str]) -> None:
    """For all that a run is given: it is read by many. Raises UsageError with names, no value."""
    named = [word.removeprefix("--variable=") for word in arguments]
    odd = [word for word in named if _CREDENTIAL.search(word) or _TOKEN.search(word)]
    odd += [word for word in _given_by(arguments) if _is_secret(word) and word not in odd]
    if odd := [word.partition("=")[0] for word in odd]:
        raise UsageError(
            f"{', '.join(odd)}: looks like it holds a login, a signature or a key, and would be "
            "readable in the run's settings. Take it out, and put it into a secret scope "
            "(databricks secrets put-secret SCOPE NAME)."
        )


def _given_by(arguments: Sequence[str]) -> list[str]:
    """`name=value` of what a person has named: variables, and the flow's parameters after `--`."""
    own = list(arguments)
    after = own[own.index("--") + 1 :] if "--" in own else []
    variables = [w.removeprefix("--variable=") for w in own if w.startswith("--variable=")]
    return [*variables, *after]


def _is_secret(word: str) -> bool:
    name, _, value = word.partition("=")
    return not _HARMLESS.fullmatch(value) and of_option(name)


def refuse_folders(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """A driver writes to a folder of that name on a disk that goes with it. Options that end in
    `uri` hold addresses. environment: variables before those of this process. Raises UsageError."""
    known = {**os.environ, **environment}
    known[SHARED] = f"{known.get(SHARED, '')}:{_VOLUMES}"
    pairs = [word.partition("=") for word in arguments if word.startswith("--")]
    found = [
        f"{option} {value}"
        for option, _, value in pairs
        if option.endswith("uri") and value and is_lost(value, known)
    ]
    if found:
        raise UsageError(
            f"{', '.join(found)}: a folder, which would go with the driver. Give abfss://... or "
            "s3://... (LAKEHOUSE_URI, FRAUD_MODEL_URI), or name in SHARED_FOLDERS what both have "
            "mounted"
        )

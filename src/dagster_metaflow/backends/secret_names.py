"""Which names are those of secrets. It depends on what is called so, since errors cost differently.

A variable that is taken for a secret can be put into a scope: what may be one is. An option of a
flow cannot, so that `--join-key` and `--passes` are none: it must end like one. A field of a
document that is a secret is hidden in logs, which are to be read: what says where or who is not.
"""

from __future__ import annotations

import re

_HAS = r"key|secret|token|sas|password|passphrase|credential|connection[-_.]?string|headers|notify"
_ENDS = (
    r"(pass(word|wd|phrase)?|pwd|secret|token|credentials?|authorization|connection[-_.]?string"
    r"|(api|access|account|auth|client|encryption|master|private|secret|shared|signing|storage)"
    r"[-_.]?key|(^|[-_.])(auth|sas|sig|signature))$"
)
_OPTION = re.compile(_ENDS, re.IGNORECASE)
_VARIABLE = re.compile(f"{_HAS}|{_ENDS}", re.IGNORECASE)
_FIELD = re.compile(f"{_HAS}|pass|pwd|sig|auth(orization)?$", re.IGNORECASE)
_PLAIN_FIELD = re.compile("(id|name|type|ur[il]|endpoint)s?$", re.IGNORECASE)  # `token_uri`


def of_option(name: str) -> bool:
    return bool(_OPTION.search(name))


def of_variable(name: str) -> bool:
    return bool(_VARIABLE.search(name))


def of_field(name: str) -> bool:
    """What has no name is one."""
    return not name or bool(_FIELD.search(name) and not _PLAIN_FIELD.search(name))

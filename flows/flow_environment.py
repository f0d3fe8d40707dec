"""What Metaflow needs to know before it is imported; imported first by every flow.

Metaflow refuses to run where no user name but root is set, as in most containers.
"""

from __future__ import annotations

import getpass
import os


def _user() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in /etc/passwd
        return "fraud-mlops"
    return "fraud-mlops" if name == "root" else name


os.environ.setdefault("METAFLOW_USER", _user())

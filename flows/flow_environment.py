"""What must be known before Metaflow or PyTorch is imported; imported first by every flow.

Metaflow refuses to run where no user name but root is set, as in most containers. OpenMP's threads
spin while they wait for one another, on cores that another run could use: on two cores two flows at
once took 111 s instead of 92, and two scorings of two threads each 3.5 times as long. Metaflow ends
a run that splits into more than 100 tasks, when its claims have been read: as many as there may be
candidates are no mistake. For one request to S3 that is gone it would wait for an hour and three
quarters: infra/aws/Dockerfile has the same bound, for what of a job is no flow.
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
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
for command in ("RUN", "RESUME"):
    os.environ.setdefault(f"METAFLOW_{command}_MAX_NUM_SPLITS", "1000")
os.environ.setdefault("METAFLOW_S3_TRANSIENT_RETRY_COUNT", "6")
os.environ.setdefault("METAFLOW_S3_RETRY_COUNT", "4")  # of listings, and of looks at a job's log
os.environ.setdefault("METAFLOW_S3_CLIENT_RETRY_CONFIG", '{"max_attempts":2,"mode":"adaptive"}')

"""What must be known before Metaflow or PyTorch is imported; imported first by every flow.

Metaflow refuses to run where no user name but root is set, as in most containers. OpenMP's threads
spin while they wait for one another, 300,000 times, on cores that another run could use: on two
cores two scorings of two threads each took 13 s at once, and one by itself 1.9. Where they go to
sleep at once it is 3.0 and 2.4, but then training pays for each time that they wake: an MLP took
twice as long, a TabM 1.3 times. A hundredth of the spinning has the better of both: 3.7 and 1.5,
and a TabM within a tenth, an MLP within a sixth of the quickest. Metaflow ends
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
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
for command in ("RUN", "RESUME"):
    os.environ.setdefault(f"METAFLOW_{command}_MAX_NUM_SPLITS", "1000")
os.environ.setdefault("METAFLOW_S3_TRANSIENT_RETRY_COUNT", "6")
os.environ.setdefault("METAFLOW_S3_RETRY_COUNT", "4")  # of listings, and of looks at a job's log
os.environ.setdefault("METAFLOW_S3_CLIENT_RETRY_CONFIG", '{"max_attempts":2,"mode":"adaptive"}')

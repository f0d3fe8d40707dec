"""The engine over Spark Connect, which is all that serverless compute has.

The same tests as with a session of this process, in one that has never had such a session: PySpark
is one or the other for as long as a process lives.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SAME = (
    "test_spark_features.py::test_a_claim_that_stands_twice_is_told_by_the_task_in_our_words",
    "test_spark_scores.py::test_every_partition_is_the_one_that_this_machine_writes",
)


@pytest.fixture
def remote() -> Iterator[str]:
    """Its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(HERE / "connect_server.py"), str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        assert one.stdin is not None
        try:
            assert one.stdout.readline() == "ready\n"
            yield f"sc://127.0.0.1:{port}"
        finally:
            one.stdin.close()
            one.wait(60)


def test_claims_have_the_same_features_and_scores_over_spark_connect(remote: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SAME]
    environment = os.environ | {"FRAUD_SPARK_MASTER": remote}
    done = subprocess.run(
        command, cwd=HERE, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout

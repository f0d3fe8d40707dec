"""The word by which a definition says of which code it was made.

Metaflow's `create` takes it as a tag of the runs, and so it stands in the command of every task. By
it a deployment is told from what stood there before, and from somebody else's.
"""

from __future__ import annotations

import re

from dagster_metaflow.backends.aws_api import Aws

_WORD = "dagster_metaflow_code:"
# Of --compress-state-machine: bucket and key of a command, as JSON has them.
_IN_S3 = re.compile(r'download_file\(\\"([^"\\]+)\\", \\"([^"\\]+)\\"')


def mark_option(code: str) -> str:
    """Of `create`."""
    return f"--tag={_WORD}{code}"


def is_made_of(aws: Aws, definition: str, code: str) -> bool:
    """Raises ClientError."""
    word = f"{_WORD}{code}"
    if word in definition or (place := _IN_S3.search(definition)) is None:
        return word in definition
    found = aws.client("s3").get_object(Bucket=place[1], Key=place[2])
    return word.encode() in found["Body"].read()

"""Before a shell's script deploys a flow to AWS: is there anything that must not go there?

    python -m dagster_metaflow.backends.check_start PARAMETERS ...

Prints the option of `create` by which executions of this deployment will be known.

Ends with 2 for a secret that would go into what AWS shows of jobs and state machines, and for a
parameter whose value a task's shell would read or change. What `step-functions trigger` is given
by hand is looked at by nobody.
"""

from __future__ import annotations

import os
import secrets
import sys

from dagster_metaflow.backends.metaflow_settings import refuse_secrets
from dagster_metaflow.backends.protocol import LaunchError
from dagster_metaflow.backends.sfn_input import refuse_what_a_shell_reads
from dagster_metaflow.backends.sfn_mark import mark_option


def main() -> int:
    try:
        refuse_secrets(os.environ)
        refuse_what_a_shell_reads(_by_option(sys.argv[1:]))
    except LaunchError as error:  # its message says what to do
        print(error, file=sys.stderr)
        return 2
    print(mark_option(secrets.token_hex(8)))
    return 0


def _by_option(words: list[str]) -> dict[str, str]:
    """`--name value` and `--name=value`; a word of its own stands for itself."""
    found: dict[str, str] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name, _, value = word.partition("=")
        else:
            value = word
        found[name or word] = found.get(name or word, "") + value
    return found


if __name__ == "__main__":
    sys.exit(main())

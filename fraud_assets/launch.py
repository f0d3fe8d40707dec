"""Launch a job on a running Dagster and wait for it: `python -m fraud_assets.launch JOB`.

For people and for CI servers. It talks to the webserver's GraphQL API alone, so it runs wherever
that can be reached, and needs no Dagster of its own.
"""

from __future__ import annotations

import signal


def run() -> None:
    """The command. Ctrl-C while it is still being loaded ends it without a trace."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from fraud_assets.launcher.command import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(prog_name="python -m fraud_assets.launch")


if __name__ == "__main__":
    run()

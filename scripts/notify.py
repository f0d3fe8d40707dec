"""Tells people how something ended: Slack, Teams, e-mail, webhooks, as FRAUD_NOTIFY_URLS says.

    python scripts/notify.py --status failed --what "nightly scoring" --reason "no claims" \\
        --link https://... --next "python -m fraud_assets.launch scoring_job"
    python scripts/notify.py --build failed --folder ci      a build, from what it left behind

--build takes what is missing from the CI server's variables (Jenkins, GitHub Actions), from the
stages that scripts/ci_stage.py noted as failed, and from the run that was launched. Ends with 0
whether or not anybody could be told: what is being told of has its own exit code.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import get_args

from fraud_mlops.notifications import Notification, notify
from fraud_mlops.notifications.builds import of_build
from fraud_mlops.notifications.message import Status


def main() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    done = notify(_message(parser, arguments))
    if done.sent:
        print(f"Told {', '.join(done.sent)}")
    if done.held_back:
        print(f"Nobody was told: {done.held_back}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    statuses = get_args(Status)
    parser.add_argument("--status", choices=statuses, help="how it ended")
    parser.add_argument("--build", choices=statuses, help="how this build ended")
    parser.add_argument("--folder", type=Path, default=Path("ci"), help="what the build has left")
    parser.add_argument("--what", help="such as a job's name")
    parser.add_argument("--key", help="of the problem, under which it is told once; --what")
    parser.add_argument("--step")
    parser.add_argument("--reason")
    parser.add_argument("--link")
    parser.add_argument("--next", dest="next_command", help="what to run or do now")
    return parser


def _message(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Notification:
    given = {
        name: value
        for name in ("what", "key", "step", "reason", "link", "next_command")
        if (value := getattr(arguments, name))
    }
    if arguments.build:
        return of_build(arguments.build, arguments.folder).model_copy(update=given)
    if not (arguments.status and arguments.what):
        parser.error("give --status and --what, or --build")
    return Notification(**{"key": arguments.what, "status": arguments.status} | given)


if __name__ == "__main__":
    sys.exit(main())

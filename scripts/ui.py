"""Dagster's pages on this machine, until Ctrl-C: `make ui`.

    python scripts/ui.py [--port 3000] [--cards-port 3070]

`dagster dev` with its history in DAGSTER_HOME, which is ./.dagster when it is not set. What Dagster
has to say goes to ui.log there; the terminal has the address, and why it did not start. Cards, to
which its pages link, are served beside it, on the port that links of the past have too.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading

import local_cards
import local_dagster


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=_port, default=local_dagster.PORT, help="of the pages")
    parser.add_argument(
        "--cards-port", type=_port, default=local_dagster.CARDS_PORT, help="of the cards"
    )
    given = parser.parse_args()
    port, cards_port = given.port, given.cards_port
    if port == cards_port:
        parser.error(f"argument --cards-port: {port} is that of the pages")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: _leave(stopped))
    if (fault := local_dagster.why_not(port)) is not None:
        other = max(port + 1, local_dagster.PORT) if port < 65535 else local_dagster.PORT
        sys.exit(
            f"Port {port} of this machine {fault}. If another `make ui` has it, end that, or take "
            f"another port: make ui UI_ARGS='--port {other}'"
        )
    log = local_dagster.dagster_home() / "ui.log"
    with (
        local_cards.cards(cards_port) as served,
        local_dagster.dagster(port, log, cards_port if served else None) as process,
    ):
        print(f"Dagster is at {local_dagster.address(port)}; Ctrl-C ends it. Its log: {log}")
        if not served:
            fault = local_dagster.why_not(cards_port) or "was taken"
            print(f"Port {cards_port} {fault}, so that there are no links to cards, but paths.")
        sys.stdout.flush()
        code = process.wait()
        print(f"Dagster has ended by itself ({code}); the end of {log}:", local_dagster.tail(log))
    return 1


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text} is no port; take one from 1 to 65535")
    return int(text)


def _leave(stopped: threading.Event) -> None:
    """Once; whoever is impatient must not keep Dagster from being ended."""
    if not stopped.is_set():
        stopped.set()
        print("\nEnding Dagster ...", flush=True)
        sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())

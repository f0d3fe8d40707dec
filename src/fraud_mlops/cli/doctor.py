"""`doctor`: whether this machine and its settings are fit, and what mends them if not."""

from __future__ import annotations

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A list of findings, for programs.")
@click.option(
    "--timeout",
    default=20.0,
    show_default=True,
    type=click.FloatRange(min=1),
    help="Seconds that one service may take.",
)
def doctor(as_json: bool, timeout: float) -> None:
    """Look at Python, packages, disk, ports, credentials, services, and say what mends them.

    Only what the settings ask for is asked. A remote lakehouse is written to: one small object,
    which is removed. Ends with 1 when something is wrong. No secret is shown.
    """
    import json

    from fraud_mlops.cli.printing import say
    from fraud_mlops.doctor.examine import examine

    found = []
    for finding in examine(timeout):
        found.append(finding)
        if not as_json:
            lines = finding.says.splitlines() or [""]
            say(f"{finding.status:<8} {finding.name}: {lines[0]}")
            for line in lines[1:]:
                say(f"{'':<9}{line}")
            if finding.mend:
                say(f"{'':<9}-> {finding.mend}")
    bad = sum(finding.status == "wrong" for finding in found)
    if as_json:
        click.echo(json.dumps([finding.model_dump() for finding in found], indent=1))
    elif bad:
        say(f"\n{bad} of {len(found)} things are wrong; the lines with -> mend them.")
    else:
        say("\nNothing is wrong.")
    raise SystemExit(1 if bad else 0)

"""JUnit XML of a run, as CI servers read it: a test case a step, and one an asset check."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from fraud_assets.launcher.events import Check, Step, Story

# XML 1.0 has no place for these, and a log line from a terminal has them.
_UNSPEAKABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(
    path: Path,
    job: str,
    story: Story,
    problem: str | None,
    properties: Mapping[str, str],
    mask: Callable[[str], str] = str,
) -> None:
    """Writes the report, replacing an older one at once or not at all.

    Args:
        problem: why the run did not succeed; a case of its own unless a step says it.
        properties: of the suite, such as run id and link.
        mask: hides secrets in its texts.
    """
    suite = ElementTree.Element("testsuite", name=job)
    kept = ElementTree.SubElement(suite, "properties")
    for name, value in properties.items():
        ElementTree.SubElement(kept, "property", name=name, value=value)
    for step in story.steps.values():
        _add_step(suite, job, step)
    for check in story.checks:
        _add_check(suite, check)
    if problem and not any(step.state == "failed" for step in story.steps.values()):
        case = _case(suite, job, "run", 0.0)
        ElementTree.SubElement(case, "error", message=problem).text = problem
    _count(suite, story)
    for element in suite.iter():
        element.attrib = {name: clean(mask(text)) for name, text in element.attrib.items()}
        element.text = element.text and clean(mask(element.text))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    _replace(path, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _add_step(suite: ElementTree.Element, job: str, step: Step) -> None:
    case = _case(suite, job, step.name, (step.ended or step.began) - step.began)
    if step.state == "failed":
        first = step.message.splitlines()[0] if step.message else "failed"
        ElementTree.SubElement(case, "failure", message=first).text = step.message
    elif step.state == "skipped":
        ElementTree.SubElement(case, "skipped")
    elif step.state != "succeeded":
        said = f"The run ended while the step was {step.state}."
        ElementTree.SubElement(case, "error", message=said)


def _add_check(suite: ElementTree.Element, check: Check) -> None:
    name = f"{check.name} [{check.partition}]" if check.partition else check.name
    case = _case(suite, check.asset, name, 0.0)
    if check.passed:
        return
    message = check.message or "the check did not pass"
    if check.severity == "ERROR":
        ElementTree.SubElement(case, "failure", message=message)
    else:  # a warning breaks no build
        ElementTree.SubElement(case, "system-out").text = f"warning: {message}"


def _case(suite: ElementTree.Element, group: str, name: str, seconds: float) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite, "testcase", classname=group, name=name, time=f"{seconds:.3f}"
    )


def _count(suite: ElementTree.Element, story: Story) -> None:
    suite.set("tests", str(len(suite.findall("testcase"))))
    for plural, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(plural, str(len(suite.findall(f"testcase/{kind}"))))
    steps = story.steps.values()
    began = min((step.began for step in steps), default=None)
    ended = max((step.ended or step.began for step in steps), default=0.0)
    suite.set("time", f"{ended - began:.3f}" if began is not None else "0.000")
    if began is not None:
        suite.set("timestamp", datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds"))


def clean(text: str) -> str:
    """`text` without the characters that no XML may hold."""
    return _UNSPEAKABLE.sub("?", text)


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)

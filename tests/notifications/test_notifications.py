"""People are told once, of everything they need, and whoever tells them is never held up by it."""

from __future__ import annotations

import logging
import re
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from webhook import Webhook

from fraud_mlops.notifications import Notification, notify
from fraud_mlops.notifications.changes import last_change
from fraud_mlops.settings import Settings

Given = Callable[..., Settings]

FAILED = Notification(
    key="run-failed/scoring_job",
    status="failed",
    what="scoring_job",
    step="score",
    reason="the source is empty",
    since=datetime(2026, 3, 1, 4, 5, tzinfo=UTC),
    changed_by="Ann Lee, 2 hours ago: Read parcels by month (a1b2c3d)",
    link="http://dagster.example.org/runs/17",
    next_command="python -m fraud_assets.launch --from-failure 17",
    facts={"partition": "2024-03"},
)
OVER = Notification(key=FAILED.key, status="succeeded", what="scoring_job")


def test_a_message_says_what_where_since_when_who_and_what_to_do(
    hook: Webhook, given: Given
) -> None:
    assert notify(FAILED, given()).sent == ("JSON at 127.0.0.1",)
    (told,) = hook.received
    assert told["title"] == "scoring_job failed in score"
    assert told["type"] == "failure"
    assert told["message"].splitlines() == [
        "Reason: the source is empty",
        "Step: score",
        "Since: 2026-03-01 04:05 UTC",
        "Last change: Ann Lee, 2 hours ago: Read parcels by month (a1b2c3d)",
        "Link: http://dagster.example.org/runs/17",
        "Next: python -m fraud_assets.launch --from-failure 17",
        "partition: 2024-03",
    ]


def test_a_problem_is_told_once_and_told_again_when_it_still_stands(
    hook: Webhook, given: Given
) -> None:
    assert notify(FAILED, given()).sent
    assert "already" in str(notify(FAILED, given()).held_back)
    assert len(hook.received) == 1
    assert notify(FAILED, given(FRAUD_NOTIFY_REPEAT="0s")).sent
    assert "Times: 3 so far" in hook.received[-1]["message"]


def test_its_end_is_told_and_after_that_it_is_news_again(hook: Webhook, given: Given) -> None:
    begun = FAILED.model_copy(update={"since": None})
    notify(begun, given())
    notify(OVER, given())
    notify(begun, given())
    assert hook.titles == [
        "scoring_job failed in score",
        "scoring_job recovered",
        "scoring_job failed in score",
    ]
    assert "Since: 20" in hook.received[0]["message"]
    assert "Since: 20" in hook.received[1]["message"]


def test_the_end_of_what_nobody_heard_of_is_told_to_nobody(hook: Webhook, given: Given) -> None:
    over = OVER.model_copy(update={"status": "recovered"})
    assert notify(over, given()).held_back == "nobody was told of a problem"
    assert hook.received == []


def test_a_storm_is_held_back_and_counted(hook: Webhook, given: Given) -> None:
    storm = [FAILED.model_copy(update={"key": f"job {n}"}) for n in range(5)]
    for message in storm:
        notify(message, given(FRAUD_NOTIFY_PER_HOUR="2"))
    assert len(hook.received) == 2
    notify(storm[4], given(FRAUD_NOTIFY_PER_HOUR="3"))  # it was not told, so it is no repetition
    assert "Held back: 2 more messages" in hook.received[-1]["message"]


def test_several_processes_at_once_tell_it_once(hook: Webhook, given: Given) -> None:
    threads = [threading.Thread(target=notify, args=(FAILED, given())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hook.received) == 1


def test_a_room_that_refuses_at_first_is_asked_again(hook: Webhook, given: Given) -> None:
    hook.refuse = 1
    assert notify(FAILED, given()).sent
    assert len(hook.received) == 1


def test_an_unreachable_room_fails_nothing_and_the_next_time_is_the_first(
    hook: Webhook, given: Given, caplog: pytest.LogCaptureFixture
) -> None:
    closed = given(FRAUD_NOTIFY_URLS="json://127.0.0.1:9/room", FRAUD_NOTIFY_TIMEOUT="1")
    assert notify(FAILED, closed).failed == ("JSON at 127.0.0.1",)
    assert "JSON at 127.0.0.1 did not take the message" in caplog.text
    assert notify(FAILED, given()).sent


def test_a_room_that_never_answers_costs_no_more_than_the_time_out(
    hook: Webhook, given: Given
) -> None:
    hook.seconds = 4
    began = time.monotonic()
    assert notify(FAILED, given(FRAUD_NOTIFY_TIMEOUT="0.5")).failed
    assert time.monotonic() - began < 3  # importing apprise included


def test_one_room_that_is_down_keeps_the_message_from_no_other(hook: Webhook, given: Given) -> None:
    both = given(FRAUD_NOTIFY_URLS=f"json://127.0.0.1:9/x {hook.address}", FRAUD_NOTIFY_TIMEOUT="3")
    done = notify(FAILED, both)
    assert (len(done.sent), len(done.failed)) == (1, 1)


def test_a_mistaken_address_is_named_by_its_place_and_not_shown(
    given: Given, caplog: pytest.LogCaptureFixture
) -> None:
    notify(FAILED, given(FRAUD_NOTIFY_URLS="slack://s3cretA/s3cretB"))
    assert "address 1 of FRAUD_NOTIFY_URLS, which is none that apprise knows" in caplog.text
    assert "s3cret" not in caplog.text


def test_no_secret_goes_out(
    hook: Webhook, given: Given, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SNOWFLAKE_PASSWORD", "correct horse/battery")
    reason = (
        "cannot log in with correct horse/battery (correct%20horse%2Fbattery) at "
        "https://ann:hunter22@host/x?sig=abcdef123 with Bearer abcdefgh12345678"
    )
    caplog.set_level(logging.DEBUG)
    notify(FAILED.model_copy(update={"reason": reason, "facts": {"a": reason}}), given())
    told = hook.received[0]["message"] + caplog.text
    for secret in ("battery", "hunter22", "abcdef123", "abcdefgh12345678", "room-s3cret-path"):
        assert secret not in told, secret
    assert "cannot log in with **** (****) at https://****@host/x" in told


def test_a_damaged_or_unwritable_state_keeps_nothing_from_being_told(
    hook: Webhook, given: Given, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.json"
    damaged.write_text("{")
    assert notify(FAILED, given(FRAUD_NOTIFY_STATE=str(damaged))).sent
    blocked = tmp_path / "file"
    blocked.touch()
    assert notify(FAILED, given(FRAUD_NOTIFY_STATE=str(blocked / "x.json"))).sent


def test_without_an_address_nobody_is_told_and_nothing_is_written(
    given: Given, tmp_path: Path
) -> None:
    done = notify(FAILED, given(FRAUD_NOTIFY_URLS=""))
    assert done.held_back == "no address is set in FRAUD_NOTIFY_URLS"
    assert not (tmp_path / "state").exists()


def test_who_changed_it_last_is_what_git_says(tmp_path: Path) -> None:
    assert last_change(tmp_path) is None
    who = ["-c", "user.name=Ann Lee", "-c", "user.email=ann@example.org"]
    (tmp_path / "code.py").touch()
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "Read parcels by month"]):
        subprocess.run(["git", "-C", str(tmp_path), *who, *command], check=True)
    found = last_change(tmp_path, ["code.py"])
    expected = r"Ann Lee, \d+ seconds? ago: Read parcels by month \([0-9a-f]{7,}\)"
    assert re.fullmatch(expected, str(found))


def test_what_is_asked_for_again_and_again_is_held_back_once(hook: Webhook, given: Given) -> None:
    first, waiting, last = (FAILED.model_copy(update={"key": f"job {n}"}) for n in range(3))
    notify(first, given(FRAUD_NOTIFY_PER_HOUR="1"))
    for _ in range(5):
        notify(waiting, given(FRAUD_NOTIFY_PER_HOUR="1"))
    notify(last, given(FRAUD_NOTIFY_PER_HOUR="2"))
    assert "Held back: 1 more messages" in hook.received[-1]["message"]

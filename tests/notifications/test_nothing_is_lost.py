"""What could not be told is told later, what is mistaken raises nothing, and no secret is shown."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from webhook import Webhook

from fraud_mlops.notifications import Notification, notify
from fraud_mlops.notifications.builds import of_build
from fraud_mlops.notifications.masking import mask_values, masker
from fraud_mlops.settings import Settings

Given = Callable[..., Settings]

ROOT = Path(__file__).parents[2]
CLOSED = {"FRAUD_NOTIFY_URLS": "json://127.0.0.1:9/room", "FRAUD_NOTIFY_TIMEOUT": "0.5"}
FAILED = Notification(key="job/a", status="failed", what="a")
OVER = Notification(key="job/a", status="succeeded", what="a")
JENKINS = {"JENKINS_URL": "http://ci", "JOB_NAME": "fraud/main", "BUILD_NUMBER": "7"}


def test_a_password_that_is_no_url_for_python_stops_nothing(
    given: Given, hook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    odd = "json://ann:pa[ss-w0rd@127.0.0.1:9/room-s3cret"
    done = notify(FAILED, given(**CLOSED | {"FRAUD_NOTIFY_URLS": f"{odd} {hook.address}"}))
    assert len(done.sent) == 1
    assert "pa[ss" not in caplog.text
    assert "room-s3cret" not in caplog.text


def test_the_command_ends_with_0_and_without_a_trace_for_mistaken_settings(tmp_path: Path) -> None:
    for urls, timeout in (("mailtos://u:pa[ss@127.0.0.1:9", "0.5"), ("json://127.0.0.1:9", "soon")):
        ended = subprocess.run(
            [sys.executable, ROOT / "scripts" / "notify.py", "--status", "failed", "--what", "x"],
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(tmp_path),
                "FRAUD_NOTIFY_URLS": urls,
                "FRAUD_NOTIFY_TIMEOUT": timeout,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert "Traceback" not in ended.stderr
        assert "x failed" in ended.stderr
        assert "pa[ss" not in ended.stderr


def test_another_failure_of_the_same_build_is_news_and_a_success_ends_them_all(
    hook: Webhook, given: Given, tmp_path: Path
) -> None:
    failed = tmp_path / "failed"
    failed.mkdir()
    for stage in ("Lint", "Deploy"):
        one = {"stage": stage, "command": "make x", "code": 1, "at": "2026-03-01"}
        (failed / "one.json").write_text(json.dumps(one))
        assert notify(of_build("failed", tmp_path, JENKINS), given()).sent
        assert notify(of_build("failed", tmp_path, JENKINS), given()).held_back
    assert notify(of_build("aborted", tmp_path, JENKINS), given()).sent
    assert notify(of_build("succeeded", tmp_path, JENKINS), given()).sent
    assert hook.titles == [
        "fraud/main #7 failed in Lint",
        "fraud/main #7 failed in Deploy",
        "fraud/main #7 was aborted in Deploy",
        "fraud/main #7 recovered",
    ]
    assert notify(of_build("failed", tmp_path, JENKINS), given()).sent


def test_what_nobody_got_does_not_count_for_the_hour(hook: Webhook, given: Given) -> None:
    for number in range(3):
        message = FAILED.model_copy(update={"key": f"job {number}"})
        assert notify(message, given(**CLOSED, FRAUD_NOTIFY_PER_HOUR="2")).failed
    assert notify(FAILED, given(FRAUD_NOTIFY_PER_HOUR="2")).sent


def test_the_count_of_what_was_held_back_outlives_a_room_that_is_down(
    hook: Webhook, given: Given
) -> None:
    storm = [FAILED.model_copy(update={"key": f"job {number}"}) for number in range(4)]
    notify(storm[0], given(FRAUD_NOTIFY_PER_HOUR="1"))
    notify(storm[1], given(FRAUD_NOTIFY_PER_HOUR="1"))
    assert notify(storm[2], given(**CLOSED, FRAUD_NOTIFY_PER_HOUR="2")).failed
    notify(storm[3], given(FRAUD_NOTIFY_PER_HOUR="2"))
    assert "Held back: 1 more messages" in hook.received[-1]["message"]


def test_what_succeeded_keeps_no_failure_from_being_told(hook: Webhook, given: Given) -> None:
    for number in range(3):
        built = OVER.model_copy(update={"key": f"build {number}"})
        notify(built, given(FRAUD_NOTIFY_PER_HOUR="2"))
    assert hook.titles == ["a succeeded", "a succeeded"]
    assert notify(FAILED, given(FRAUD_NOTIFY_PER_HOUR="2")).sent
    assert "Held back: 1 more messages" in hook.received[-1]["message"]


def test_the_end_of_what_nobody_was_told_of_is_no_recovery(hook: Webhook, given: Given) -> None:
    assert notify(FAILED, given(**CLOSED)).failed
    notify(OVER, given())
    assert hook.titles == ["a succeeded"]
    assert notify(FAILED, given(**CLOSED)).failed
    recovered = notify(OVER.model_copy(update={"status": "recovered"}), given())
    assert (recovered.sent, recovered.done) == ((), True)


def test_a_repetition_that_could_not_be_told_undoes_no_telling(hook: Webhook, given: Given) -> None:
    notify(FAILED, given())
    assert notify(FAILED, given(**CLOSED, FRAUD_NOTIFY_REPEAT="0s")).failed
    notify(OVER, given())
    assert hook.titles == ["a failed", "a recovered"]


def test_a_recovery_that_could_not_be_told_is_told_at_the_next_success(
    hook: Webhook, given: Given
) -> None:
    notify(FAILED, given())
    assert notify(OVER, given(**CLOSED)).failed
    assert notify(OVER.model_copy(update={"key": "job/b"}), given()).sent
    assert notify(OVER, given(FRAUD_NOTIFY_PER_HOUR="1")).held_back
    notify(OVER, given())
    assert hook.titles == ["a failed", "a succeeded", "a recovered"]


def test_the_end_of_a_thread_is_a_warning_without_secrets(
    hook: Webhook, given: Given, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apprise.plugins.custom_json import NotifyJSON

    def refuse(self: NotifyJSON, **_: object) -> bool:
        raise RuntimeError(f"cannot post to {hook.address}")

    monkeypatch.setattr(NotifyJSON, "notify", refuse)
    caplog.set_level(logging.WARNING)
    assert notify(FAILED, given()).failed == ("JSON at 127.0.0.1",)
    assert "cannot post to" in caplog.text
    assert "room-s3cret-path" not in caplog.text


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("METAFLOW_SERVICE_AUTH_KEY", "abcdef123456", "abcdef123456"),
        ("AZURE_STORAGE_KEY", "abcdef123456", "abcdef123456"),
        ("MF_METADATA_DB_PSWD", "abcdef123456", "abcdef123456"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-team=fraud,x-key=abcdef123456", "abcdef123456"),
        ("METAFLOW_SERVICE_HEADERS", '{"x-api-key": "abcdef123456"}', "abcdef123456"),
    ],
)
def test_secrets_are_known_by_the_names_of_their_variables(
    name: str, value: str, secret: str
) -> None:
    assert masker({name: value})(f"it said {secret}") == "it said ****"


def test_what_is_masked_stays_json() -> None:
    found = {
        "reason": 'GET "https://host/x?sig=abcd" failed',
        "tags": [{"key": "pwd=abcd"}],
        "n": 1,
    }
    masked = mask_values(found, masker({}))
    assert json.loads(json.dumps(masked)) == {
        "reason": 'GET "https://host/x?sig=****" failed',
        "tags": [{"key": "pwd=****"}],
        "n": 1,
    }


def test_what_is_no_secret_stays_readable() -> None:
    plain = {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "GIT_AUTHOR_NAME": "Ann Lee",
        "KEY_PATH": "/keys/a",
    }
    text = "AKIDEXAMPLE, Ann Lee, /keys/a"
    assert masker(plain)(text) == text

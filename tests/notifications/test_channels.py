"""The addresses of docs/jenkins.md, over real servers: mail, Slack's webhook, Teams."""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mailbox_server import mailbox
from webhook import Webhook, webhook

from fraud_mlops.notifications import Notification, notify
from fraud_mlops.notifications.delivery import channel_names
from fraud_mlops.notifications.masking import parts_of_address
from fraud_mlops.settings import Settings

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "stores"))
from entra_kit import certificate  # noqa: E402

Given = Callable[..., Settings]

PAGE = ROOT / "docs" / "jenkins.md"
FAILED = Notification(
    key="run-failed/scoring_job",
    status="failed",
    what="scoring_job",
    step="score",
    reason="the source is empty",
    next_command="python -m fraud_assets.launch --from-failure 17",
)


def test_the_addresses_of_the_page_are_ones_that_apprise_takes(given: Given) -> None:
    block = re.search(r"```text\n(slack://.*?)```", PAGE.read_text(), re.DOTALL)
    assert block
    addresses = " ".join(re.findall(r"^\w+://\S+", block[1], re.MULTILINE))
    # Slack's keys have a form of their own, which the page's words have not.
    real = addresses.replace("TokenA/TokenB/TokenC", "T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ")
    names = channel_names(given(FRAUD_NOTIFY_URLS=real))
    assert [name.split(" at ")[0] for name in names] == [
        "Slack",
        "Power Automate / Workflows (for MSTeams)",
        "E-Mail",
        "JSON",
    ]


def test_mail_is_sent_with_the_login_of_its_address(
    given: Given, caplog: pytest.LogCaptureFixture
) -> None:
    with mailbox() as box:
        people = "from=ci@example.org&to=fraud@example.org"
        address = f"mailto://ann:pa%24s-w0rd@127.0.0.1:{box.port}?{people}"
        done = notify(FAILED, given(FRAUD_NOTIFY_URLS=address))
    assert len(done.sent) == 1, caplog.text
    assert box.logins == [("ann", "pa$s-w0rd")]
    assert box.recipients == ["fraud@example.org"]
    (mail,) = box.received
    assert mail["Subject"] == "scoring_job failed in score"
    text = mail.get_body(("html", "plain"))
    assert text is not None
    assert "Reason: the source is empty" in text.get_content()
    assert "pa$s-w0rd" not in mail.as_string()


def test_slack_gets_title_and_text_at_the_address_of_its_webhook(
    hook: Webhook, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apprise.plugins.slack import NotifySlack

    monkeypatch.setattr(NotifySlack, "webhook_url", f"http://127.0.0.1:{hook.port}/services")
    slack = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#fraud"
    assert notify(FAILED, given(FRAUD_NOTIFY_URLS=slack)).sent == ("Slack",)
    assert hook.paths == ["/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"]
    (told,) = hook.received
    assert told["channel"] == "#fraud"
    (text,) = told["attachments"]
    assert text["title"] == "scoring_job failed in score"
    assert "Reason: the source is empty" in text["text"]


def test_a_key_in_the_place_of_a_host_is_not_shown(given: Given) -> None:
    key = "AAG-abcdefghijklmnopqrstuvwxyz_12345"
    rooms = (
        f"tgram://123456789:{key}/12315544/ slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    )
    assert channel_names(given(FRAUD_NOTIFY_URLS=rooms)) == ["Telegram", "Slack"]
    assert key in parts_of_address(rooms.split()[0])


def test_teams_gets_a_card_by_its_flow(
    given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(made.certificate, made.key)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.certificate))
    with webhook(tls) as flow:
        address = f"workflows://127.0.0.1:{flow.port}/WORKFLOW/SIGNATURE"
        done = notify(FAILED, given(FRAUD_NOTIFY_URLS=address))
    assert len(done.sent) == 1
    (path,) = flow.paths
    assert path.startswith("/workflows/WORKFLOW/triggers/manual/paths/invoke?")
    assert "sig=SIGNATURE" in path
    (told,) = flow.received
    (card,) = told["attachments"]
    assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
    texts = [part["text"] for part in card["content"]["body"] if "text" in part]
    assert "scoring_job failed in score" in texts
    assert "Reason: the source is empty" in "\n".join(texts)

"""E-mail against a real SMTP server: what arrives, encryption, sign-in, and what happens when it fails."""

import logging
import ssl
import subprocess
import threading
from email import message_from_bytes, policy

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from errors import NotImplementedHere
from tests.conftest import wait_until
from tests.mongod_fixture import find_free_port
from user import mail

LINK = "https://sheaf.test/v1/users/verify#token=aaa.bbb.ccc"


class Mailbox:
    """Keeps what the server was sent, and how."""

    def __init__(self):
        self.messages, self.envelopes, self.sessions, self.logins = [], [], [], []
        self.refuses = False

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 -- aiosmtpd's name
        if self.refuses:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 -- aiosmtpd's name
        self.envelopes.append(envelope)
        self.sessions.append(session)
        self.messages.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"

    def authenticate(self, server, session, envelope, mechanism, data):
        self.logins.append((data.login, data.password, session.ssl is not None))
        return AuthResult(success=data.password == b"p:a/s s@word", handled=False)


@pytest.fixture
def mailbox():
    return Mailbox()


@pytest.fixture
def serve(mailbox, config):
    """Starts an SMTP server for `mailbox` and points the settings at it."""
    started = []

    def start(scheme="smtp", login="", **options):
        port = find_free_port()
        controller = Controller(mailbox, hostname="127.0.0.1", port=port, **options)
        controller.start()
        started.append(controller)
        config.smtp_url = f"{scheme}://{login}localhost:{port}"
        return controller

    yield start
    for controller in started:
        controller.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost that nobody has signed."""
    folder = tmp_path_factory.mktemp("certificate")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return key, cert


@pytest.fixture
def server_context(certificate):
    key, cert = certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    return context


@pytest.fixture
def trust(certificate, monkeypatch):
    """Makes the mail client trust the certificate."""
    create = ssl.create_default_context

    def create_trusting(*args, **options):
        return create(*args, cafile=str(certificate[1]), **options)

    monkeypatch.setattr(ssl, "create_default_context", create_trusting)


def send():
    mail.send("ann@sheaf.test", "Hello", "Please press this:", LINK)


def send_in_background(caplog):
    """Send as requests do; the log has what went wrong."""
    with caplog.at_level(logging.INFO):
        mail.put(lambda name: mail.send(name, "Hello", "Please press this:", LINK), "ann@sheaf.test")
        wait_until(lambda: mail._room._value == mail.MAX_WAITING)
    return caplog.text


def test_message_arrives_as_it_should_be(serve, mailbox, config):
    serve()
    config.mail_from = "Sheaf <noreply@sheaf.test>"
    send()
    message = mailbox.messages[0]
    assert (message["To"], message["From"]) == ("ann@sheaf.test", "Sheaf <noreply@sheaf.test>")
    assert (message["Subject"], message["Auto-Submitted"]) == ("Hello", "auto-generated")
    assert message["Message-ID"].endswith("@sheaf.test>")
    assert message["Date"]
    assert message.get_content_type() == "text/plain"
    assert LINK in message.get_content().splitlines()
    assert mailbox.envelopes[0].rcpt_tos == ["ann@sheaf.test"]
    assert mailbox.envelopes[0].mail_from == "noreply@sheaf.test"


def test_address_beyond_ascii_arrives(serve, mailbox):
    serve()
    mail.send("zoë@sheaf.test", "Hello", "Grüezi:", LINK)
    assert mailbox.envelopes[0].rcpt_tos == ["zoë@sheaf.test"]
    assert "Grüezi" in mailbox.messages[0].get_content()


@pytest.mark.parametrize("bad", ["ann@sheaf.test\r\nBcc: bob@sheaf.test", "ann@sheaf.test\nX: y"])
def test_headers_cannot_be_smuggled_in(serve, mailbox, bad):
    serve()
    with pytest.raises(ValueError, match="linefeed"):
        mail.send(bad, "Hello", "Text", LINK)
    with pytest.raises(ValueError, match="linefeed"):
        mail.send("ann@sheaf.test", bad, "Text", LINK)
    assert mailbox.messages == []


def test_starttls_is_used_when_offered_and_password_is_percent_decoded(serve, mailbox, server_context, trust):
    serve(
        login="us%40er:p%3Aa%2Fs%20s%40word@",
        tls_context=server_context,
        authenticator=mailbox.authenticate,
        auth_required=True,
    )
    send()
    assert mailbox.logins == [(b"us@er", b"p:a/s s@word", True)]
    assert mailbox.sessions[0].ssl is not None
    assert len(mailbox.messages) == 1


def test_smtps_speaks_tls_from_the_start(serve, mailbox, server_context, trust):
    serve("smtps", ssl_context=server_context)
    send()
    assert len(mailbox.messages) == 1


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_server_with_an_untrusted_certificate_gets_nothing(serve, mailbox, server_context, caplog, scheme):
    serve(scheme, **{"tls_context" if scheme == "smtp" else "ssl_context": server_context})
    text = send_in_background(caplog)
    assert "could not be sent: SSLCertVerificationError" in text
    assert "token" not in text
    assert mailbox.messages == []


def test_password_is_not_sent_over_the_network_unencrypted(serve, mailbox, caplog, monkeypatch):
    serve(login="user:secret-word@", authenticator=mailbox.authenticate, auth_require_tls=False)
    monkeypatch.setattr(mail, "LOOPBACK", frozenset())
    text = send_in_background(caplog)
    assert "offers no encryption" in text
    assert "secret-word" not in text
    assert (mailbox.messages, mailbox.logins) == ([], [])


def test_wrong_password_is_logged_without_it(serve, mailbox, caplog):
    serve(login="user:secret-word@", authenticator=mailbox.authenticate, auth_require_tls=False)
    text = send_in_background(caplog)
    assert "could not be sent: SMTPAuthenticationError" in text
    assert "secret-word" not in text


def test_refused_recipient_is_logged_without_token(serve, mailbox, caplog):
    serve()
    mailbox.refuses = True
    text = send_in_background(caplog)
    assert "could not be sent: SMTPRecipientsRefused" in text
    assert "token" not in text


def test_server_that_is_away_is_logged_and_the_next_message_goes_out(serve, mailbox, caplog, config):
    config.smtp_url = f"smtp://localhost:{find_free_port()}"
    assert "could not be sent: ConnectionRefusedError" in send_in_background(caplog)
    serve()
    send_in_background(caplog)
    assert len(mailbox.messages) == 1


def test_fault_in_a_message_does_not_end_the_outbox(serve, mailbox, caplog):
    def fail(name):
        raise KeyError("unforeseen")

    mail.put(fail, "x")
    wait_until(lambda: mail._room._value == mail.MAX_WAITING)
    assert "unforeseen" in caplog.text
    serve()
    send_in_background(caplog)
    assert len(mailbox.messages) == 1


def test_full_outbox_drops_and_says_so(app, caplog, monkeypatch):
    taken = threading.BoundedSemaphore(1)
    taken.acquire()
    monkeypatch.setattr(mail, "_room", taken)
    mail.put(lambda name: pytest.fail("ran"), "x")
    assert "dropped" in caplog.text


def test_without_server_the_link_is_logged_in_development_and_refused_in_production(config, caplog):
    with caplog.at_level(logging.INFO, logger="sheaf.mail"):
        send()
    assert LINK in caplog.text
    mail.require_server()
    config.environment = "production"
    assert not mail.has_server()
    with pytest.raises(NotImplementedHere, match="SHEAF_SMTP_URL"):
        mail.require_server()


@pytest.mark.parametrize(
    ("public_url", "expected"),
    [
        ("", "http://127.0.0.1:8000/v1/users/reset#token=t"),
        ("https://api.sheaf.test/", "https://api.sheaf.test/v1/users/reset#token=t"),
        ("https://sheaf.test/base", "https://sheaf.test/base/v1/users/reset#token=t"),
    ],
)
def test_links_begin_with_the_public_url(config, public_url, expected):
    config.public_url = public_url
    assert mail.link("reset", "t") == expected

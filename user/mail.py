"""E-mail: a bounded outbox in the background, and one SMTP delivery (RFC 5321) per message.

Without a mail server in development, messages are written to the log. That is the one place where a token is logged.
"""

import contextlib
import logging
import smtplib
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from urllib.parse import SplitResult, unquote, urlsplit

from pymongo.errors import PyMongoError

from errors import NotImplementedHere
from settings import config

logger = logging.getLogger("sheaf.mail")

MAX_WAITING = 200
TIMEOUT_SECONDS = 10
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
FOOTER = "If you did not expect this e-mail, ignore it: nothing happens without the link."

_room = threading.BoundedSemaphore(MAX_WAITING)
_workers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="mail")


def has_server() -> bool:
    """Whether e-mail goes anywhere: to a mail server, or in development to the log."""
    return bool(config.smtp_url) or not config.is_production


def require_server() -> None:
    """NotImplementedHere in production without a mail server."""
    if not has_server():
        raise NotImplementedHere("This server cannot send e-mail: SHEAF_SMTP_URL is missing.")


def put(task: Callable[[str], None], name: str) -> None:
    """Run `task(name)` in the background. When the outbox is full it is dropped, and the log says so."""
    if not _room.acquire(blocking=False):
        logger.error("an e-mail was dropped: %s are waiting already; is the mail server slow?", MAX_WAITING)
        return
    _workers.submit(_run, task, name)


def link(page: str, token: str) -> str:
    """The address of a page of `/v1/users` with a token, in the part of a URL that is never sent or logged."""
    base = config.public_url.rstrip("/") or config.local_url
    return f"{base}/v1/users/{page}#token={token}"


def send(recipient: str, subject: str, sentence: str, url: str) -> None:
    """Deliver one message to the mail server; in development without one, to the log."""
    text = f"{sentence}\n\n{url}\n\n{FOOTER}\n"
    if not config.smtp_url:
        logger.info("e-mail to %s: %s\n%s", recipient, subject, text)
        return
    sender = parseaddr(config.mail_from)[1]
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = config.mail_from, recipient, subject
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    with _connection(urlsplit(config.smtp_url)) as server:
        server.send_message(message)


def _run(task: Callable[[str], None], name: str) -> None:
    try:
        task(name)
    except (OSError, PyMongoError, ValueError) as failure:
        # Only the kind: a mail server's answer may quote the message, with its token.
        logger.error("an e-mail could not be sent: %s", type(failure).__name__)
    except Exception:  # the loop must outlive any event
        logger.exception("an e-mail could not be sent")
    finally:
        _room.release()


@contextlib.contextmanager
def _connection(url: SplitResult) -> Iterator[smtplib.SMTP]:
    """A connection to the mail server, encrypted if it offers that, signed in if the URL says as whom."""
    context = ssl.create_default_context()
    with _open(url, context) as server:
        server.ehlo_or_helo_if_needed()
        if url.scheme != "smtps" and server.has_extn("starttls"):
            server.starttls(context=context)
        if url.username:
            _refuse_to_show_password(server, url)
            server.login(unquote(url.username), unquote(url.password or ""))
        yield server


def _open(url: SplitResult, context: ssl.SSLContext) -> smtplib.SMTP:
    host = url.hostname or "localhost"
    if url.scheme == "smtps":
        return smtplib.SMTP_SSL(host, url.port or 465, timeout=TIMEOUT_SECONDS, context=context)
    return smtplib.SMTP(host, url.port or 587, timeout=TIMEOUT_SECONDS)


def _refuse_to_show_password(server: smtplib.SMTP, url: SplitResult) -> None:
    """Raise when the password would cross the network as plain text."""
    if not isinstance(server.sock, ssl.SSLSocket) and url.hostname not in LOOPBACK:
        logger.error("SHEAF_SMTP_URL holds a password, but the mail server offers no encryption")
        raise smtplib.SMTPNotSupportedError("no encryption")

"""What an account is called: e-mail address, username and display name, checked and normalised. Knows no database."""

import re
import unicodedata

from bson import ObjectId
from email_validator import EmailNotValidError, validate_email

from errors import InvalidInput

# ASCII only: in all of Unicode, two names can look alike and differ.
USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,63}")
MAX_NAME_CHARACTERS = 200
MAX_LOGIN_CHARACTERS = 254
# Control characters, and marks that change the direction of the text around them.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def invalid(path: str, message: str) -> InvalidInput:
    """The failure to raise for one bad member of the body."""
    return InvalidInput(f"{path!r} {message}.", [{"path": path, "message": message}])


def require_text(value: object, path: str, *, maximum: int) -> str:
    """`value` when it is a string of at most `maximum` characters, else InvalidInput."""
    if not isinstance(value, str):
        raise invalid(path, "must be a string")
    if not 0 < len(value) <= maximum:
        raise invalid(path, f"must have 1 to {maximum} characters")
    return value


def clean_email(value: object) -> str:
    """An e-mail address as it is kept: in the form of RFC 5321 and 6531, the domain in lower case."""
    address = require_text(value, "email", maximum=MAX_LOGIN_CHARACTERS)
    try:
        # The test environment admits the domain .test, which leads nowhere (RFC 6761).
        return validate_email(address, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError:
        raise invalid("email", "is not an e-mail address") from None


def clean_username(value: object) -> str:
    """A username of 3 to 64 ASCII letters, digits and `.`, `_`, `-`, never like an id or an e-mail address."""
    username = require_text(value, "username", maximum=64)
    if not USERNAME.fullmatch(username):
        raise invalid(
            "username", "must be 3 to 64 letters, digits, dots, hyphens, underscores, and begin with a letter or digit"
        )
    if ObjectId.is_valid(username):
        raise invalid("username", "may not look like an id")
    return username


def clean_name(value: object) -> str:
    """A display name in any script."""
    name = unicodedata.normalize("NFC", require_text(value, "name", maximum=MAX_NAME_CHARACTERS)).strip()
    if not name or UNPRINTABLE.search(name):
        raise invalid("name", "must have visible characters and no control characters")
    return name


def to_key(text: str) -> str:
    """The copy of an e-mail address or username by which two of them count as the same."""
    return unicodedata.normalize("NFC", text.casefold())


def find_key(login: str) -> tuple[str, str | ObjectId] | None:
    """The stored field and value that `login` can match: an e-mail address, an id or a username; None if none can."""
    if "@" in login:
        try:
            return "email_key", to_key(clean_email(login.strip()))
        except InvalidInput:
            return None
    if ObjectId.is_valid(login):
        return "id", ObjectId(login)
    return "username_key", to_key(login.strip())

"""The two pages that e-mailed links open, each one file without outside parts, under a policy that admits no others."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Literal

from flask import Response

FOLDER = Path(__file__).resolve().parent
Page = Literal["verify", "reset"]


def _hashes(html: str, element: str) -> str:
    """Sources for the inline elements of a page, as Content Security Policy Level 3 wants them."""
    parts = re.findall(f"<{element}>(.*?)</{element}>", html, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts]
    return " ".join(f"'sha256-{digest}'" for digest in digests)


def _policy(html: str) -> str:
    return (
        f"default-src 'none'; script-src {_hashes(html, 'script')}; style-src {_hashes(html, 'style')}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _read(page: Page) -> tuple[str, str]:
    html = (FOLDER / f"{page}.html").read_text(encoding="utf-8")
    return html, _policy(html)


_PAGES: dict[Page, tuple[str, str]] = {"verify": _read("verify"), "reset": _read("reset")}


def show(page: Page) -> Response:
    """One of the pages."""
    html, policy = _PAGES[page]
    return Response(html, headers={"Content-Security-Policy": policy}, content_type="text/html; charset=utf-8")

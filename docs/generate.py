"""The parts of docs/*.md that are made from the code; `python -m docs.generate` writes them anew, a test compares.

A part stands between `<!-- generated: name -->` and `<!-- end -->`; the words round it are written by hand.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from flask import Flask

import settings_reference
from application import create_app
from reference import document, page
from settings import ROOT, Settings

FOLDER = Path(__file__).resolve().parent
PART = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages(app: Flask) -> Iterator[tuple[Path, str]]:
    """Every page that has generated parts, and what it should say."""
    parts = make_parts(app)
    for path in sorted([*FOLDER.glob("*.md"), ROOT / "README.md"]):
        text = path.read_text(encoding="utf-8")
        made = PART.sub(lambda match: f"{match[1]}{parts[match['name']]}{match[3]}", text)
        if PART.search(text):
            yield path, made


def make_parts(app: Flask) -> dict[str, str]:
    """The generated parts by name: `settings`, `errors`, `routes`, and one of each blueprint's routes."""
    found = page.build(document.build(app))
    parts = {"settings": settings_reference.as_table(), "errors": error_table(found), "routes": route_table(found)}
    return parts | {f"routes-{section.name}": section_text(section) for section in found.sections}


def error_table(found: page.Page) -> str:
    """Status, code and meaning of every failure."""
    rows = [f"| {one.status} | `{one.code}` | {one.words} |\n" for one in found.problems]
    return "| Status | Code | When |\n| --- | --- | --- |\n" + "".join(rows)


def route_table(found: page.Page) -> str:
    """Every route on one line, with who may call it."""
    rows = [
        f"| `{one.method} {one.path}` | {one.summary} | {one.who} |\n"
        for section in found.sections
        for one in section.operations
    ]
    return "| Route | What it does | For |\n| --- | --- | --- |\n" + "".join(rows)


def section_text(section: page.Section) -> str:
    """The routes of one blueprint in full."""
    return "".join(_operation_text(one) for one in section.operations)


def _operation_text(one: page.Operation) -> str:
    lines = [f"### {one.method} {one.path}", "", one.summary, ""]
    for paragraph in one.paragraphs:
        lines += [paragraph, ""]
    lines.append(f"- For: {one.who}.")
    if one.body:
        lines.append(f"- Body: `{one.body}`")
    lines += [f"- {_query_line(parameter)}" for parameter in one.parameters]
    lines += [
        f"- Answer {answer.status}: {f'`{answer.shape}`' if answer.shape else 'no body'}" for answer in one.answers
    ]
    if one.codes:
        lines.append("- Errors: " + ", ".join(f"{status} `{code}`" for status, code in one.codes))
    return "\n".join(lines) + "\n\n"


def _query_line(parameter: page.Parameter) -> str:
    required = ", required" if parameter.is_required else ""
    meaning = f": {parameter.meaning}" if parameter.meaning else ""
    return f"Query `{parameter.name}` ({parameter.kind}{required}){meaning}"


def main() -> None:
    """Write every page that is not as it should be."""
    # Routes are asked for, and no database; any address will do.
    app = create_app(Settings(mongodb_uri="mongodb://127.0.0.1:27017", environment="development", secret_key="-" * 32))
    for path, text in pages(app):
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

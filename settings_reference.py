"""The settings as text: docs/settings.md's table and .env.example, both written from `settings.Settings`."""

import dataclasses
from typing import Any

from settings import Settings


def as_table() -> str:
    """The Markdown table of docs/settings.md."""
    rows = ["| Name | Default | Range | Meaning |", "| --- | --- | --- | --- |"]
    for field in dataclasses.fields(Settings):
        default = f"`{_format_default(field)}`" if field.default != "" else "empty"
        rows.append(
            f"| `{field.metadata['name']}` | {default} | {_format_range(field)} | {field.metadata['meaning']} |"
        )
    return "\n".join(rows) + "\n"


def as_example() -> str:
    """The text of .env.example."""
    head = "# Every setting with its default. Copy to .env and take away the `#` before what you change.\n"
    fields = dataclasses.fields(Settings)
    lines = [f"# {each.metadata['meaning']}\n#{each.metadata['name']}={_format_default(each)}\n" for each in fields]
    return "\n".join([head, *lines])


def _format_default(field: "dataclasses.Field[Any]") -> str:
    return str(field.default).lower() if field.type is bool else str(field.default)


def _format_range(field: "dataclasses.Field[Any]") -> str:
    if field.type is bool:
        return "`true`, `false`"
    if field.type is int:
        return f"{field.metadata['minimum']} to {field.metadata['maximum']}"
    return ", ".join(f"`{choice}`" for choice in field.metadata["choices"] if choice) or "text"

"""The documentation keeps its word: its commands run, its links lead somewhere, its names exist."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from flask import Flask

import manage
from reference import document
from settings import ROOT, Settings
from settings_reference import as_example
from tests.command_line import RunServer

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
END = "--end-of-block--"


def blocks(path: Path) -> list[str]:
    """The page's `sh` blocks."""
    return re.findall(r"^```sh\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


class Shell:
    """One bash that runs the blocks of a page, one after the other."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        )

    def run(self, block: str) -> str:
        """What the block printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        text = block.replace("http://127.0.0.1:8000", self._url)
        self._process.stdin.write(f"{text}\necho\necho {END}\n")
        self._process.stdin.flush()
        lines = list(iter(self._process.stdout.readline, f"{END}\n"))
        return "".join(lines)

    def close(self) -> None:
        """End it."""
        self._process.communicate()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunServer]:
    """The service as `make run` starts it, with a mongod and data of its own."""
    server = RunServer(tmp_path / "data", WEB_CONCURRENCY="1").wait_until_ready()
    yield server
    server.close()


@pytest.mark.timeout(180)
def test_tour_of_the_readme_and_the_quickstart(running: RunServer) -> None:
    """One server for both: starting it takes longer than all the rest."""
    shell = Shell(running.url)
    tour, after_restart = blocks(ROOT / "README.md")
    assert len(tour.splitlines()) <= 11
    printed = shell.run(tour)
    for expected in (
        '"username":"ann"',
        '{"inserted_id":"dune"}',
        '{"documents":[{"_id":"dune","title":"Dune","price":9.5,"_owner":',
        '{"matched_count":1,"modified_count":1}',
        '"code":"not_found"',
    ):
        assert expected in printed, printed
    welcome(shell)
    quickstart(shell)
    queries(shell)
    running.process.terminate()
    running.wait_until_stopped()
    running.start()
    running.wait_until_ready()
    assert '{"_id":"dune","title":"Dune","price":10.5,' in shell.run(after_restart)
    shell.close()


def welcome(shell: Shell) -> None:
    """The commands that `make run` prints; who tries them may still follow the quickstart."""
    commands = manage.WELCOME[manage.WELCOME.index("  curl ") :].format(url="http://127.0.0.1:8000")
    assert '{"inserted_id":{"$oid":"' in shell.run(commands)


def quickstart(shell: Shell) -> None:
    """Every block of docs/quickstart.md, with what its text promises."""
    expected = [
        ['"username":"ada"', '"email":"ada@example.org"'],
        [],
        ['{"inserted_id":{"$oid":"', '{"inserted_ids":["emma","ulysses"]}'],
        [
            '{"documents":[{"_id":',
            '"title":"Dune","price":9.5},{"_id":"emma"',
            '{"_id":"emma","title":"Emma","price":7,',
        ],
        ['{"matched_count":1,"modified_count":1}', '{"deleted_count":1}'],
        ['"code":"not_found"'],
        ['{"_id":"emma","title":"Emma","price":8,'],
    ]
    found = blocks(ROOT / "docs" / "quickstart.md")
    assert len(found) == len(expected)
    for block, promises in zip(found, expected, strict=True):
        printed = shell.run(block)
        for promise in promises:
            assert promise in printed, f"{block}\n{printed}"


def queries(shell: Shell) -> None:
    """Every block of docs/queries.md, the programs among them run with what the shell exports."""
    expected = [
        ['{"inserted_ids":["emma","persuasion","dune"]}'],
        ['[{"_id":"dune","title":"Dune","earned":190.0},{"_id":"emma","title":"Emma","earned":84}]'],
        ['{"documents":[{"sold":20,"name":"Frank Herbert"},{"sold":15,"name":"Jane Austen"}]}'],
        ['{"count":2}'],
        ['{"values":["austen","herbert"]}'],
        ['{"plans":[{', '"indexName":"_owner_1__id_1"'],
        ['{"matched_count":1,"modified_count":1}{"matched_count":1,"modified_count":1}'],
    ]
    page = ROOT / "docs" / "queries.md"
    for block, promises in zip(blocks(page), expected, strict=True):
        printed = shell.run(block)
        for promise in promises:
            assert promise in printed, f"{block}\n{printed}"
    text = page.read_text(encoding="utf-8")
    shell.run("export SHEAF TOKEN")
    for language, command, promise in (
        ("python", f"{sys.executable} -", "['Persuasion']"),
        ("javascript", "node --input-type=module -", "[ 'Emma' ]"),
    ):
        [program] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        if shutil.which(command.split()[0]):
            printed = shell.run(f"{command} 2>&1 <<'END'\n{program}END")
            assert promise in printed, printed


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        if ":" in name:
            continue
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), f"{path.name}: {target}"
        if anchor:
            assert anchor in anchors(linked), f"{path.name}: {target}"


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_settings_that_are_named_exist(path: Path) -> None:
    known = {field.metadata["name"] for field in Settings.__dataclass_fields__.values()}
    named = set(re.findall(r"\bSHEAF_[A-Z_]+\b", path.read_text(encoding="utf-8")))
    assert named - known == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_that_are_named_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for words in re.findall(r"manage\.py ([a-z]+(?: [a-z]+)?)", text):
        group, _, name = words.partition(" ")
        command = manage.cli.commands.get(group)
        assert command is not None, f"{path.name}: manage.py {words}"
        if isinstance(command, click.Group) and name:
            assert name in command.commands, f"{path.name}: manage.py {words}"
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for target in re.findall(r"(?:`| {4})make ([a-z-]+)", text):
        assert target in targets, f"{path.name}: make {target}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_routes_that_are_named_exist(path: Path, app: Flask) -> None:
    known = [(one.method, re.sub(r"{\w+}", "[^/]+", one.path)) for one in document.routes(app)]
    for method, named in re.findall(
        r"\b(GET|POST|PUT|PATCH|DELETE) (/[\w/{}.]*[\w}])", path.read_text(encoding="utf-8")
    ):
        assert any(method == verb and re.fullmatch(pattern, named) for verb, pattern in known), f"{method} {named}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_json_that_is_shown_is_json(path: Path) -> None:
    for block in re.findall(r"^```json\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        json.loads(block)


def test_every_command_is_documented() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for name, command in manage.cli.commands.items():
        inner = command.commands if isinstance(command, click.Group) else {"": command}
        for words in (f"`manage.py {name} {each}".rstrip() + "`" for each in inner):
            assert words in text, f"docs/operations.md, under Commands, does not name {words}"


def test_example_of_env_is_up_to_date() -> None:
    found = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert found == as_example(), "Run `python manage.py settings --env > .env.example`"

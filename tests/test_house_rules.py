"""Rules of STYLE that a machine can check. A failure says what to do about it.

Those about routes look at the application, those about code read the files.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from docs import generate
from openapi import Description
from reference import document
from settings import ROOT

MAX_FUNCTION_LINES = 50
MAX_MODULE_LINES = 400
# They would hide a module that the standard library or a driver has under that name, or collect what has no home.
FORBIDDEN_NAMES = {
    *("utils", "util", "common", "helpers", "helper", "core", "misc"),
    *("types", "logging", "queue", "code", "gridfs", "bson"),
}
ENVIRONMENT_READERS = {
    "settings.py": "is the reader",
    "server.py": "hands its own environment on to the HTTP server it starts",
}
CLIENT_OPENERS = {
    "database.py": "opens the process's client",
    "mongod.py": "asks a mongod it starts whether it is primary yet",
}


class Module:
    """One Python file of the project."""

    def __init__(self, path: Path) -> None:
        self.name = path.relative_to(ROOT).as_posix()
        self.text = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text)

    def imports(self) -> Iterator[str]:
        """Full names of the modules, and of the members, it imports."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module or ""
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    def imports_any(self, names: set[str]) -> list[str]:
        """Which of the modules in `names`, or parts of them, it imports."""
        return sorted(one for one in set(self.imports()) if any(f"{one}.".startswith(f"{name}.") for name in names))


def project_files() -> list[Path]:
    """Every Python file of ours."""
    skipped = {".venv", "venv", "node_modules", "data", "bench"}
    return [
        path
        for path in sorted(ROOT.rglob("*.py"))
        if not any(part in skipped or part.startswith(".") for part in path.relative_to(ROOT).parts)
    ]


MODULES = [Module(path) for path in project_files()]
SOURCES = [module for module in MODULES if not module.name.startswith("tests/")]
VIEWS = [module for module in SOURCES if re.fullmatch(r"\w+/(\w+_)?views\.py", module.name)]
DRIVER = {"pymongo", "mongoengine", "flask_mongoengine", "database"}
HTTP = {"flask", "werkzeug", "wire", "openapi", "access.guard"}
# Of the files in folders, those with data and rules: whatever is named so, and whatever talks to the database.
MODELS = [
    module
    for module in SOURCES
    if "/" in module.name and (re.search(r"models\.py$", module.name) or module.imports_any(DRIVER))
]


def fail_if(found: list[str], advice: str) -> None:
    """Fail, listing what breaks a rule, with what to do."""
    assert not found, f"{advice}\n  " + "\n  ".join(found)


def test_every_route_says_who_may_use_it(app: Flask) -> None:
    found = [
        f"{rule.rule} ({rule.endpoint})"
        for rule in app.url_map.iter_rules()
        if not re.fullmatch(
            r"public|require:(session|admin|read|create|update|delete)(,(session|admin|read|create|update|delete))*",
            getattr(app.view_functions[rule.endpoint], "access", ""),
        )
    ]
    fail_if(found, "Decorate the view with @require(...) or @public from access.guard:")


def test_every_view_has_a_docstring_and_a_description(app: Flask) -> None:
    found = [
        endpoint
        for endpoint, view in app.view_functions.items()
        if not view.__doc__ or not isinstance(getattr(view, "description", None), Description)
    ]
    fail_if(found, "Give the view a docstring and @describe(...) from openapi; both are the API's documentation:")


def test_a_guarded_view_keeps_its_description(app: Flask) -> None:
    """Decorators that wrap must carry `access` and `description` on: the reference and wire.parameters read them."""
    for route in document.routes(app):
        assert route.view.access
        assert route.description.answers, f"{route.endpoint}: say in describe(answers=...) what a success looks like"


def test_every_error_has_a_docstring_and_a_code_of_its_own() -> None:
    kinds = document.error_kinds()
    fail_if(
        [kind.__name__ for kind in kinds if not kind.__dict__.get("__doc__")],
        "Say in the class's docstring when the failure is answered; docs/errors.md and /docs show it:",
    )
    fail_if(
        [code for code, times in Counter(kind.code for kind in kinds).items() if times > 1],
        "Give each ApiError class a code of its own:",
    )
    fail_if(
        [kind.__name__ for kind in kinds if not re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code) or not kind.title],
        "A code is lower_case words; a title is there:",
    )


def test_generated_parts_of_the_docs_are_up_to_date(app: Flask) -> None:
    found = [path.name for path, text in generate.pages(app) if path.read_text(encoding="utf-8") != text]
    fail_if(found, "Settings, errors or routes changed: run `python -m docs.generate` and commit:")


@pytest.mark.parametrize("name", ["settings", "errors"])
def test_docs_have_the_generated_table(name: str) -> None:
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert f"<!-- generated: {name} -->" in text, f"docs/{name}.md must hold the generated part {name!r}"


def test_every_error_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    found = [kind.code for kind in document.error_kinds() if f"| {kind.status} | `{kind.code}` |" not in text]
    fail_if(found, "Run `python -m docs.generate`; docs/errors.md does not list:")


def test_every_route_is_in_the_docs(app: Flask) -> None:
    text = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
    found = [f"{one.method} {one.path}" for one in document.routes(app) if f"### {one.method} {one.path}\n" not in text]
    fail_if(found, "Add the blueprint's generated part to docs/http.md and run `python -m docs.generate`:")


def test_models_know_no_http() -> None:
    found = [f"{module.name}: {', '.join(names)}" for module in MODELS if (names := module.imports_any(HTTP))]
    fail_if(found, "Models know no HTTP: take values, return values, raise an ApiError; let the view do the rest:")


def test_views_know_no_driver() -> None:
    found = [f"{module.name}: {', '.join(names)}" for module in VIEWS if (names := module.imports_any(DRIVER))]
    fail_if(found, "Views are HTTP only: move what talks to the database into the folder's models.py:")


def test_lower_layers_do_not_import_upper_ones() -> None:
    """manage -> application -> views -> models -> database, ejson, cache, watcher -> errors, settings."""
    packages = {path.parent.name for path in project_files() if path.name == "views.py"}
    upper = {f"{package}.{name}" for package in packages for name in ("views", "models")} | {"application", "manage"}
    lower = ("errors", "settings", "cache", "ejson", "ejson_input", "openapi", "database", "watcher", "process")
    low = [module for module in SOURCES if module.name.removesuffix(".py") in lower]
    found = [f"{module.name}: {', '.join(names)}" for module in low if (names := module.imports_any(upper))]
    views = {f"{package}.views" for package in packages} | {"application", "manage"}
    found += [f"{module.name}: {', '.join(names)}" for module in MODELS if (names := module.imports_any(views))]
    fail_if(found, "Imports go one way, down; move what both need into the lower module:")


def attributes(tree: ast.AST) -> Iterator[str]:
    """Dotted names a file uses, such as `os.environ`."""
    yield from (ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute))


def test_only_database_opens_clients() -> None:
    pattern = re.compile(r"(pymongo\.|^)(Async)?MongoClient$|^mongoengine\.connect$")
    found = [
        module.name
        for module in SOURCES
        if module.name not in CLIENT_OPENERS and any(map(pattern.search, names_called(module.tree)))
    ]
    fail_if(found, "Only database.py opens connections: use database.client() or database.service():")


def names_called(tree: ast.AST) -> Iterator[str]:
    """Dotted names of what a file calls; `Thing[int](...)` is a call of `Thing`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.value if isinstance(node.func, ast.Subscript) else node.func
            yield ast.unparse(called)


def test_only_settings_reads_the_environment() -> None:
    pattern = re.compile(r"^os\.(environb?|getenvb?)$")
    found = [
        module.name
        for module in SOURCES
        if module.name not in ENVIRONMENT_READERS
        and any(map(pattern.search, [*module.imports(), *attributes(module.tree)]))
    ]
    fail_if(found, "Only settings.py reads the environment: make it a setting there and read `config`:")


def test_exceptions_to_the_rules_are_still_needed() -> None:
    gone = {*ENVIRONMENT_READERS, *CLIENT_OPENERS} - {module.name for module in SOURCES}
    fail_if(sorted(gone), "Remove the exception: the file it was made for is gone:")


def test_names_say_what_is_inside() -> None:
    found = []
    for path in project_files():
        parts = path.relative_to(ROOT).with_suffix("").parts
        found += [path.relative_to(ROOT).as_posix() for part in parts if part in FORBIDDEN_NAMES]
    fail_if(found, "Name the file for what it holds; these names hide others or hold anything:")


def test_functions_are_short() -> None:
    found = [
        f"{module.name}:{node.lineno} {node.name} ({length} lines)"
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]
    fail_if(found, f"Split at a seam that has a name; a function may have {MAX_FUNCTION_LINES} lines:")


def test_modules_are_short() -> None:
    lengths = {module.name: len(module.text.splitlines()) for module in SOURCES}
    found = [f"{name} ({length} lines)" for name, length in lengths.items() if length > MAX_MODULE_LINES]
    fail_if(found, f"Split along a seam that has a name; a module may have {MAX_MODULE_LINES} lines:")


def test_modules_say_what_belongs_in_them() -> None:
    found = [module.name for module in MODULES if module.text.strip() and not ast.get_docstring(module.tree)]
    fail_if(found, "Begin the file with a docstring of 1-3 lines: what belongs in it, and what does not:")


def public_definitions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """The functions and classes of a module, and the methods of those classes, whose names don't begin with `_`."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body)


def test_public_functions_have_docstrings() -> None:
    found = [
        f"{module.name}:{node.lineno} {node.name}"
        for module in SOURCES
        for node in public_definitions(module.tree.body)
        if not ast.get_docstring(node)
    ]
    fail_if(found, "Say in one sentence what the caller gets, or what is true afterwards:")


def test_exceptions_are_caught_narrowly() -> None:
    found = [
        f"{module.name}:{node.lineno}"
        for module in SOURCES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
        and not re.search(r"except Exception( as \w+)?:\s+# \w+", module.text.splitlines()[node.lineno - 1])
    ]
    fail_if(
        found,
        "Catch the error that the call raises. Where really all must be caught, in a loop that outlives any event or "
        "an outermost handler, say why on the line: `except Exception:  # the loop must outlive any event`:",
    )


def test_nothing_is_left_for_later() -> None:
    words = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
    paths = [*project_files(), *ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("reference/templates/*")]
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if words.search(line)
    ]
    fail_if(found, "Do it now, or make it an issue:")

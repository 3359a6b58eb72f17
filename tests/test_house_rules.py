"""Rules of STYLE that a machine can check. A failure says what to do about it.

Those about routes look at the application, those about code read the files.
"""

import ast
import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
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


@dataclasses.dataclass(frozen=True)
class Layer:
    """Files of one kind, and the kinds they may import beside their own."""

    files: tuple[str, ...]
    may_import: frozenset[str]


def layer(*files: str, may_import: str = "") -> Layer:
    """A layer of the files that match one of the patterns."""
    return Layer(files, frozenset(may_import.split()))


# manage -> application -> HTTP -> models -> database, ejson, cache, watcher -> errors, settings.
# The first pattern that fits a file says its layer: in a package, whatever is not named here for HTTP is model.
LAYERS = {
    "command": layer(
        *("manage.py", "user_command.py", "settings_reference.py", "gunicorn.conf.py"),
        may_import="startup application process model database base",
    ),
    "startup": layer("startup.py", may_import="process model database base"),
    "process": layer("server.py", "mongod.py", "process.py", may_import="base"),
    "application": layer("application.py", may_import="http wire model database tool base"),
    "http": layer(
        *(
            "*/views.py",
            "*/*_views.py",
            "access/guard.py",
            "document/hot_path.py",
            "document/path.py",
            "monitor/request_log.py",
        ),
        *("reference/document.py", "user/caller.py", "user/pages.py"),
        may_import="wire model tool base",
    ),
    "wire": layer("wire.py", "openapi.py", may_import="tool base"),
    "model": layer(
        *("access/*.py", "document/*.py", "migrations/*.py", "monitor/*.py", "reference/*.py", "user/*.py"),
        may_import="database tool base",
    ),
    "database": layer("database.py", "watcher.py", may_import="tool base"),
    "tool": layer("ejson.py", "ejson_input.py", "cache.py", "admission.py", may_import="base"),
    "base": layer("errors.py", "settings.py"),
}
HTTP_LAYERS = {"application", "http", "wire"}
HTTP_LIBRARIES = {"flask", "werkzeug"}
DRIVERS = {"pymongo", "mongoengine", "flask_mongoengine", "gridfs", "motor"}
# What reaches into the database through a document of MongoEngine's.
DOCUMENT_MEMBERS = {"objects", "save", "reload", "_get_collection"}
# What a file of another layer may import of an HTTP library, and why.
HTTP_EXCEPTIONS = {
    ("errors.py", "werkzeug.exceptions"): "Flask's own failures are translated there like all others",
    ("database.py", "flask.Flask"): "flask_mongoengine binds itself to an application",
    ("startup.py", "flask.Flask"): "commands have no application, and flask_mongoengine wants one",
}
ENVIRONMENT_READERS = {
    "settings.py": "is the reader",
    "server.py": "hands its own environment on to the HTTP server it starts",
}
# Proofs, measurements and words: they may import everything, and nothing imports them.
BESIDE_THE_SERVICE = {"tests", "bench", "docs"}
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
        """Full names of the modules, and of the members, it imports; `from x import y` is `x.y`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                source = ".".join([*self._package(node.level), *filter(None, [node.module])])
                yield from (f"{source}.{alias.name}" for alias in node.names)

    def imports_any(self, names: set[str]) -> list[str]:
        """Which of the modules in `names`, or parts of them, it imports."""
        return sorted(one for one in set(self.imports()) if any(is_part(one, name) for name in names))

    def imported_files(self) -> set[str]:
        """The project's own files that it imports."""
        return {found for name in self.imports() if (found := file_of(name))}

    @property
    def layer(self) -> str | None:
        """The name of its layer in LAYERS."""
        return layer_of(self.name)

    def _package(self, level: int) -> list[str]:
        """What the dots before a relative import stand for."""
        return self.name.split("/")[:-level] if level else []


def is_part(name: str, of: str) -> bool:
    """Whether a dotted name is `of`, or something in it."""
    return f"{name}.".startswith(f"{of}.")


def file_of(name: str) -> str | None:
    """The project's file that holds the module or member `name`; None when it is somebody else's."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        start = "/".join(parts[:length])
        found = [path for path in (f"{start}.py", f"{start}/__init__.py") if (ROOT / path).is_file()]
        if found:
            return found[0]
    return f"{parts[0]}/" if parts[0] in BESIDE_THE_SERVICE else None


def layer_of(path: str) -> str | None:
    """The name of a file's layer; None for one that LAYERS does not know."""
    return next((name for name, one in LAYERS.items() if any(fnmatchcase(path, file) for file in one.files)), None)


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
SERVICE = [module for module in SOURCES if module.name.partition("/")[0] not in BESIDE_THE_SERVICE]


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


def test_every_module_has_a_layer() -> None:
    found = [module.name for module in SERVICE if module.layer is None]
    fail_if(
        found,
        "Say in LAYERS (tests/test_house_rules.py) which layer the file belongs to. Of a new package, add "
        "`package/*.py` to model, and to http by name the files that speak HTTP:",
    )


def test_every_pattern_of_a_layer_is_needed() -> None:
    found = [
        f"{name}: {file}"
        for name, one in LAYERS.items()
        for file in one.files
        if not any(module.layer == name and fnmatchcase(module.name, file) for module in SERVICE)
    ]
    fail_if(found, "Remove the pattern from LAYERS; no file is there for it any more:")


def test_imports_go_one_way() -> None:
    found = [
        f"{module.name} ({module.layer}) imports {path} ({layer_of(path) or 'not part of the service'})"
        for module in SERVICE
        if module.layer
        for path in sorted(module.imported_files())
        if layer_of(path) not in {module.layer, *LAYERS[module.layer].may_import}
    ]
    fail_if(found, "Imports go one way, down (LAYERS); move what both need into the lower module:")


def test_only_http_files_know_http() -> None:
    """That nothing else imports wire, openapi and guards is in LAYERS; these are the libraries."""
    found = [
        f"{module.name}: {name}"
        for module in SERVICE
        if module.layer not in HTTP_LAYERS
        for name in module.imports_any(HTTP_LIBRARIES)
        if not any(module.name == file and is_part(name, part) for file, part in HTTP_EXCEPTIONS)
    ]
    fail_if(found, "Models know no HTTP: take values, return values, raise an ApiError; let the view do the rest:")


def test_http_files_know_no_driver() -> None:
    found = [
        f"{module.name}: {name}"
        for module in SERVICE
        if module.layer in HTTP_LAYERS
        for name in [*module.imports_any(DRIVERS), *members_used(module.tree, DOCUMENT_MEMBERS)]
    ]
    fail_if(found, "Views are HTTP only: move what talks to the database into a function of a model:")


def members_used(tree: ast.AST, names: set[str]) -> Iterator[str]:
    """Uses of members with one of the names, and the lines they are on."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in names:
            yield f"line {node.lineno}, {ast.unparse(node)}"


def test_nothing_is_imported_by_a_name_that_is_made() -> None:
    pattern = re.compile(r"^(importlib\.)?(import_module|__import__)$")
    found = [module.name for module in SERVICE if any(map(pattern.search, names_called(module.tree)))]
    fail_if(found, "Import with `import`, at the top: whoever looks for a module must find who uses it:")


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
    imports = {module.name: list(module.imports()) for module in SOURCES}
    gone = {*ENVIRONMENT_READERS, *CLIENT_OPENERS} - {module.name for module in SOURCES}
    unused = [
        f"{file}: {part}"
        for file, part in HTTP_EXCEPTIONS
        if not any(is_part(name, part) for name in imports.get(file, []))
    ]
    fail_if([*sorted(gone), *unused], "Remove the exception: what it was made for is gone:")


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
        f"{module.name}:{line}"
        for module in SOURCES
        for line in broad_catches(module.tree)
        if not re.search(r"except Exception( as \w+)?:\s+# \w+", module.text.splitlines()[line - 1])
    ]
    fail_if(
        found,
        "Catch, or suppress, the error that the call raises. Where really all must be caught, in a loop that outlives "
        "any event or an outermost handler, say why on the line: `except Exception:  # the loop must outlive any "
        "event`:",
    )


def broad_catches(tree: ast.AST) -> Iterator[int]:
    """Lines that catch or suppress everything: alone, in a tuple, or by a name given to either in the same file."""
    given = {
        ast.unparse(target): node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
    }
    suppressors = {"contextlib.suppress", *imported_as(tree, "contextlib", "suppress")}
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and (node.type is None or is_broad(node.type, given)):
            yield node.lineno
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in suppressors
            and any(is_broad(argument, given) for argument in node.args)
        ):
            yield node.lineno


def imported_as(tree: ast.AST, module: str, member: str) -> Iterator[str]:
    """What a file calls a member of a module that it imports, by itself or with its module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == module:
            yield from (alias.asname or member for alias in node.names if alias.name == member)
        elif isinstance(node, ast.Import):
            yield from (f"{alias.asname}.{member}" for alias in node.names if alias.name == module and alias.asname)


def is_broad(caught: ast.expr, given: dict[str, ast.expr]) -> bool:
    """Whether an expression names Exception or BaseException, itself or in a tuple."""
    if isinstance(caught, ast.Tuple):
        return any(is_broad(each, given) for each in caught.elts)
    if isinstance(caught, ast.Starred):
        return is_broad(caught.value, given)
    name = ast.unparse(caught)
    if name.removeprefix("builtins.") in ("Exception", "BaseException"):
        return True
    others = {other: value for other, value in given.items() if other != name}
    return name in given and is_broad(given[name], others)


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

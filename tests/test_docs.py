"""What the documents say is what there is: settings, commands, routes, events, files, dependencies."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from setuptools import find_packages

from docs.tables import commands, pages
from gateway.commands.grammar import names
from gateway.routes.table import ROUTES
from kernel.settings import Settings, table

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
README = PAGES[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("page", list(pages()), ids=lambda page: page.name)
def test_the_tables_are_those_of_the_code(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == pages()[page], "run `make docs`"


def test_the_sample_environment_changes_nothing() -> None:
    assert not re.search(r"^[^#\n]", (ROOT / ".env.example").read_text(encoding="utf-8"), re.M)


def test_every_command_is_in_the_readme() -> None:
    assert sorted(row[0].strip("`").removeprefix("parley ") for row in commands()) == names()


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_that_are_mentioned_exist(page: Path) -> None:
    known = names()
    groups = {name.split()[0] for name in known}
    for first, second in re.findall(r"(?<![/@])\bparley ([a-z]+)(?: ([a-z]+))?", page.read_text(encoding="utf-8")):
        if f"parley {first} {second}" in ("parley user", "parley secrets rotate", "parley audit verify"):
            continue  # the changelog names them as missing
        if first not in groups:
            assert page.name == "CHANGELOG.md" and first in ("user", "audit"), f"parley {first}"
        elif first not in known and second:
            assert f"{first} {second}" in known or page.name == "CHANGELOG.md", f"parley {first} {second}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_routes_that_are_mentioned_exist(page: Path) -> None:
    paths = [generic(route.path) for route in ROUTES]
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"(?<![\w./-])(/(?:api/v1|health|channels|v1)/[\w/{}-]*)", text):
        named = generic(path)
        if page.name == "CHANGELOG.md" and named in ("/v1/chat/completions",):
            continue
        if page.name == "adding.md" and named.startswith("/channels/pigeon/"):
            continue  # a platform that does not exist
        assert any(known == named or known.startswith(f"{named}/") for known in paths), path
    for method, path in re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[\w/{}.-]*)", text):
        if page.name == "adding.md" and path.startswith("/rooms/"):
            continue
        there = {(route.method, generic(route.path)) for route in ROUTES}
        assert (method, generic(path)) in there, f"{method} {path}"


def generic(path: str) -> str:
    """The path with `{}` for what is filled in, `{so}` or `LIKE_THIS`."""
    return re.sub(r"\{\w+\}|\b[A-Z][A-Z_]+\b", "{}", path).rstrip("/")


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


def test_functions_that_the_architecture_names_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = "kernel|identity|channels|pipeline|webhooks|gateway|simulators"
    mentioned = set(re.findall(rf"`((?:{rooms})(?:\.\w+)+)(?:\(|`)", text))
    assert len(mentioned) > 10
    for dotted in mentioned:
        assert _exists(dotted.split(".")), dotted


def _exists(parts: list[str]) -> bool:
    """A folder, a module, or a name that a module (or a class in it) defines or hands on."""
    for cut in range(len(parts), 0, -1):
        base, rest = ROOT.joinpath(*parts[:cut]), parts[cut:]
        module = base.with_suffix(".py") if base.with_suffix(".py").exists() else base / "__init__.py"
        if module.exists():
            return not rest or _defines(ast.parse(module.read_text(encoding="utf-8")), rest)
    return False


def _defines(tree: ast.Module | ast.ClassDef, names: list[str]) -> bool:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == names[0]:
            return len(names) == 1 or (isinstance(node, ast.ClassDef) and _defines(node, names[1:]))
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.ImportFrom) and len(names) == 1:
            if isinstance(node, ast.ImportFrom):
                given = {alias.asname or alias.name for alias in node.names}
            else:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                given = {target.id for target in targets if isinstance(target, ast.Name)}
            if names[0] in given:
                return True
    return False


def name_of(requirement: str) -> str:
    return re.split(r"[\s;<>=!~\[]", requirement.strip(), maxsplit=1)[0].lower().replace("_", "-").replace(".", "-")


def lines(file: str) -> list[str]:
    return [line for line in (ROOT / "requirements" / file).read_text().splitlines() if line and line[0] not in "# "]


def locked(file: str) -> dict[str, str]:
    return {name_of(line): line.split("==")[1].split()[0] for line in lines(file) if "==" in line}


def test_dependencies_requirements_and_locks_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime, extras = project["project"]["dependencies"], project["project"]["optional-dependencies"]
    builders = project["build-system"]["requires"]  # installed with the rest, so that no build environment is needed
    assert {name_of(r) for r in runtime + builders} == {name_of(r) for r in lines("runtime.in")}
    assert {name_of(r) for r in extras["dev"]} == {name_of(r) for r in lines("dev.in")}
    assert {name_of(r) for r in runtime + builders} <= locked("runtime.lock").keys()
    assert {name_of(r) for r in extras["dev"]} <= locked("dev.lock").keys()
    assert "sentence-transformers" in locked("sentence-transformers.lock")
    everything = [locked(f) for f in ("runtime.lock", "dev.lock", "sentence-transformers.lock")]
    for one in everything:
        for other in everything:
            assert {n for n in one.keys() & other.keys() if one[n] != other[n]} == set()
    torch = next(r for r in extras["sentence-transformers"] if name_of(r) == "torch")
    assert f"TORCH := {torch}\n" in (ROOT / "Makefile").read_text()
    for pinned in (r for r in runtime if "==" in r):
        assert locked("runtime.lock")[name_of(pinned)] == pinned.split("==")[1]


@pytest.mark.parametrize("file", ["runtime.lock", "dev.lock", "sentence-transformers.lock"])
def test_every_locked_version_has_its_hashes(file: str) -> None:
    text = (ROOT / "requirements" / file).read_text()
    for block in re.split(r"\n(?=\S)", text.strip()):
        assert "==" in block and "--hash=sha256:" in block, block.splitlines()[0]


def test_compose_and_procfile_run_commands_that_exist() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    services = compose["services"]
    assert {"gateway", "worker", "migrate", "postgres", "redis", "qdrant"} == set(services)
    assert services["qdrant"]["profiles"] == ["qdrant"]
    for service in services.values():
        command = service.get("command", [])
        if command and command[0] == "parley":
            assert command[1] in names()
        for needed in service.get("depends_on", {}):
            assert needed in services
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in compose["volumes"]
    admins = [name for name, service in services.items() if "DATABASE_ADMIN_URL" in service.get("environment", {})]
    assert admins == ["migrate"]
    known = {row["name"] for row in table(Settings())}
    for name in ("gateway", "worker", "migrate"):
        assert set(services[name]["environment"]) <= known
    for line in (ROOT / "Procfile").read_text().splitlines():
        assert line.split()[1] == "parley" and line.split()[2] in names()


def test_make_and_ci_are_well_formed() -> None:
    for target in ("run", "test", "check", "bench", "chaos", "bench-webhooks", "chaos-webhooks", "hostile-webhooks"):
        subprocess.run(["make", "--dry-run", "--silent", target], cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["bash", "-n", ".ci/run"], cwd=ROOT, check=True)
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert "make test" in README


def test_the_sample_knowledge_can_be_read() -> None:
    from gateway.commands.demo import QUESTIONS, knowledge

    documents = knowledge()
    assert 6 <= len(documents) <= 10
    assert len({document["external_id"] for document in documents}) == len(documents)
    assert len({document["title"] for document in documents}) == len(documents)
    assert QUESTIONS
    json.dumps(documents)


def test_every_package_is_installed() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    listed = find_packages(str(ROOT), include=patterns)
    there = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in ROOT.glob("[a-z]*/**/__init__.py")}
    assert set(listed) == there - {"tests"}

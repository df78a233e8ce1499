"""The user that the stores run as when Parley is started as root: Postgres refuses to run as root itself."""

import grp
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

from gateway.embedded import launch
from gateway.supervisor import Account, StartError

USER = "parley"
ROOT_DATA_DIR = Path("/var/lib/parley")
_LAUNCH = Path(launch.__file__)
_SYSTEM_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"


class StoreError(StartError):
    """An embedded store cannot run here; the message names the cause and a remedy."""


def store_account(folder: Path) -> Account | None:
    """Who runs the stores whose data is in this folder: nobody else than us, unless we are root.

    As root it is the owner of the data when there is some (a volume may outlive the container in which its user had
    that number), else the system user `parley`, made on first use.
    """
    owner = folder.stat() if folder.exists() else None
    if os.geteuid() != 0:
        if owner and owner.st_uid != os.geteuid():
            raise StoreError(f"{folder} belongs to user {owner.st_uid}: start Parley as that user, or as root")
        return None
    if owner and owner.st_uid != 0:
        return Account(_name(owner.st_uid), owner.st_uid, owner.st_gid)
    return system_account()


def system_account() -> Account:
    """The account `parley`, created when missing. Raises StoreError when that is not possible."""
    if (account := _lookup()) is None:
        refusal = _create()
        if (account := _lookup()) is None:
            raise StoreError(
                f"Postgres does not run as root and the system user {USER} could not be created ({refusal}): create it"
                f" (useradd --system --no-create-home {USER}), or start Parley as a user other than root"
            )
    if account.uid == 0:
        raise StoreError(f"the user {USER} is root by another name; Postgres needs one that is not")
    return account


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _lookup() -> Account | None:
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        return None
    return Account(USER, entry.pw_uid, entry.pw_gid)


def _create() -> str:
    """Make the account; what stood in the way, for the error."""
    useradd = shutil.which("useradd", path=_SYSTEM_PATH)
    if useradd is None:
        return "there is no useradd on this machine"
    group = ("--gid", USER) if any(g.gr_name == USER for g in grp.getgrall()) else ("--user-group",)
    bare = ("--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin")
    done = subprocess.run([useradd, *bare, *group, USER], capture_output=True, text=True, check=False)
    return done.stderr.strip() or f"useradd ended with status {done.returncode}"


def first_blocked(account: Account | None, *paths: Path) -> Path | None:
    """The first component on the way to these absolute paths that the account (None: we) may not enter, or None."""
    if account is None:
        return next((blocked for path in paths if (blocked := launch.first_blocked(path))), None)
    command = [sys.executable, "-I", "-S", str(_LAUNCH), "reach", str(account.uid), str(account.gid), *map(str, paths)]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode == launch.BLOCKED:
        return Path(asked.stdout)
    if asked.returncode != 0:
        raise StoreError(
            f"cannot run the stores as user {account.name} ({asked.stderr.strip()}):"
            " start Parley as a user other than root"
        )
    return None


def unreachable(account: Account | None, blocked: Path) -> StoreError:
    """The refusal for a data directory that the stores' user cannot reach."""
    mode = f"{blocked.stat().st_mode & 0o7777:04o}" if os.access(blocked.parent, os.X_OK) else "unknown"
    if account is None:
        return StoreError(f"you may not enter {blocked} (mode {mode}): choose another data directory with --data-dir")
    return StoreError(
        f"the user {account.name}, which runs Postgres and Redis because Parley was started as root, may not enter"
        f" {blocked} (mode {mode}): choose a data directory that it can reach, such as --data-dir {ROOT_DATA_DIR},"
        " or start Parley as a user other than root"
    )

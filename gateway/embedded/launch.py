"""The few steps between fork and exec that need a process of their own; run as a script, never for long.

    python -I -S launch.py run   UID GID SIGNAL PARENT PROGRAM [ARG …]
    python -I -S launch.py reach UID GID PATH [PATH …]

`run` becomes the user (UID -1: stays who it is), asks the kernel for SIGNAL when PARENT dies, and becomes PROGRAM.
`reach` becomes the user and prints the first directory or file on the way to each PATH that it may not enter; exit
status 3 then, 0 when it can reach them all. A script instead of `preexec_fn`, which may deadlock in a parent with
threads, and asked as the user itself, so that ACLs and security modules are heard as well as mode bits.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

BLOCKED = 3
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def first_blocked(path: Path) -> Path | None:
    """The first component of an absolute path, from the root down, that this process may not enter (or execute)."""
    for component in (*reversed(path.parents), path):
        if not os.access(component, os.X_OK):
            return component
    return None


def become(uid: int, gid: int) -> None:
    """Drop to the user, with its group alone. Raises PermissionError without the right to."""
    if uid < 0:
        return
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def die_with_parent(number: int, parent: int) -> None:
    """Ask for a signal on the parent's death (Linux). After the change of user, which would clear the request."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it died before we could ask
        raise SystemExit(1)


def run(uid: int, gid: int, number: int, parent: int, argv: list[str]) -> None:
    """Become argv, with default signals: a parent started with `&` in a script hands on an ignored SIGINT."""
    become(uid, gid)
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_DFL)
    die_with_parent(number, parent)
    os.execv(argv[0], argv)  # noqa: S606 - that is its purpose


def main(argv: list[str]) -> int:
    verb, uid, gid = argv[0], int(argv[1]), int(argv[2])
    try:
        if verb == "run":
            run(uid, gid, int(argv[3]), int(argv[4]), argv[5:])
        become(uid, gid)
    except OSError as error:
        what = argv[5] if verb == "run" else f"user {uid}"
        sys.stderr.write(f"cannot become {what}: {error.strerror}\n")
        return 1
    for path in argv[3:]:
        if (blocked := first_blocked(Path(path))) is not None:
            sys.stdout.write(str(blocked))
            return BLOCKED
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

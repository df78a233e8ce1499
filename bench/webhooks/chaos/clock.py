"""A wall clock that can be stepped under running processes, as an operator or NTP would step a machine's.

With a C compiler at hand a library is made that is loaded before libc and shifts the real-time clock of whole programs,
Postgres among them, by an offset in a shared file; monotonic clocks go on as they do on a machine. Without one, only
`time.time` of our workers is shifted (`bench.webhooks.chaos.worker`).
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

OFFSET_FILE = "CHAOS_CLOCK"
_SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const long long *offset;  /* nanoseconds */

__attribute__((constructor)) static void find(void) {
    const char *path = getenv("CHAOS_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) offset = page;
    close(file);
}

int clock_gettime(clockid_t id, struct timespec *at) {
    int failed = syscall(SYS_clock_gettime, id, at);
    if (!failed && offset && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        long long now = at->tv_sec * 1000000000LL + at->tv_nsec + *offset;
        at->tv_sec = now / 1000000000LL;
        at->tv_nsec = now % 1000000000LL;
    }
    return failed;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    int failed = clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""


class Clock:
    """`environment` is what a process needs that is to live by this clock; `whole` whether Postgres can be one."""

    def __init__(self, folder: Path) -> None:
        path = folder / "offset"
        path.write_bytes(bytes(8))
        path.chmod(0o644)
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 8)
        library = _build(folder)
        self.whole = library is not None
        self.environment = {OFFSET_FILE: str(path), **({"LD_PRELOAD": str(library)} if library else {})}
        self.offset = 0.0

    @property
    def reach(self) -> str:
        if self.whole:
            return "the clock is stepped for Postgres and workers, by a library loaded before libc"
        return "the clock is stepped for workers alone, there being no C compiler"

    def step(self, seconds: float) -> None:
        self.offset += seconds
        self._page[:8] = struct.pack("=q", round(self.offset * 1e9))


def offset_of(path: str) -> mmap.mmap:
    """The page that holds an offset, for `read_offset`."""
    with Path(path).open("rb") as file:
        return mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)


def read_offset(page: mmap.mmap) -> float:
    """Seconds."""
    nanoseconds: int = struct.unpack("=q", page[:8])[0]
    return nanoseconds / 1e9


def _build(folder: Path) -> Path | None:
    compiler, source, library = shutil.which("cc"), folder / "clock.c", folder / "clock.so"
    if compiler is None:
        return None
    source.write_text(_SOURCE)
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        return None
    library.chmod(0o755)
    return library

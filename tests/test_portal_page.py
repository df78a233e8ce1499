"""The portal's page in a real Chromium, where there is one. All of it: `python -m bench.portal`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.browser import program

ROOT = Path(__file__).resolve().parent.parent
LOOKED_AT = ("adds", "keeps_the_token", "is_framed")


def test_the_page_works_in_a_browser() -> None:
    only = [part for name in LOOKED_AT for part in ("--only", name)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.portal", *only], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    printed = done.stdout + done.stderr
    if program() is None:
        assert (done.returncode, "there is no Chromium" in printed) == (2, True), printed
    else:
        assert (done.returncode, printed.count("ok  ")) == (0, len(LOOKED_AT)), printed

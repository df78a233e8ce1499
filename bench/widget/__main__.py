"""`python -m bench.widget [--shots DIR]`: the web widget in a real Chromium, on a strict page of another origin.

Prints a line for each thing that it sees; exit status 1 when one of them is not as it should be.

Needs a Chromium on the PATH (`apt-get install chromium`). The tests do not need it: they hold the routes to their word.
"""

import sys

from bench.pages import main
from bench.widget.checks import CHECKS
from bench.widget.scene import scene

if __name__ == "__main__":
    sys.exit(main("bench.widget", __doc__, CHECKS, scene))

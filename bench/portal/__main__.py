"""`python -m bench.portal [--shots DIR]`: the portal's page in a real Chromium, in a frame of another origin and alone.

Prints a line for each thing that it sees; exit status 1 when one of them is not as it should be.

Needs a Chromium on the PATH (`apt-get install chromium`). The tests do not need it: they hold the routes to their word.
"""

import sys

from bench.pages import main
from bench.portal.checks import CHECKS
from bench.portal.scene import scene

if __name__ == "__main__":
    sys.exit(main("bench.portal", __doc__, CHECKS, scene))

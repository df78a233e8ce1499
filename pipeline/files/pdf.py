"""`python -m pipeline.files.pdf`: a PDF on standard input, its text on standard output, one form feed between pages.

A process of its own, with bounds on memory and time: a file from a stranger may be made to break its reader. Exit
status 3: encrypted; 4: no PDF; 5: nothing but pictures.
"""

from __future__ import annotations

import io
import logging
import resource
import sys

from pypdf import PdfReader
from pypdf.errors import DependencyError, FileNotDecryptedError, PyPdfError

MEMORY = 1 << 30  # bytes
SECONDS = 20  # of CPU
PAGES = 300
CHARACTERS = 2_000_000
ENCRYPTED, BROKEN, EMPTY = 3, 4, 5


def main() -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    logging.disable(logging.CRITICAL)
    try:
        reader = PdfReader(io.BytesIO(sys.stdin.buffer.read()))
        pages = [page.extract_text() for page in reader.pages[:PAGES]]
    except (FileNotDecryptedError, DependencyError):
        return ENCRYPTED
    except (PyPdfError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, MemoryError):
        return BROKEN  # whatever a made-up file brings its reader to
    text = "\f".join(pages)[:CHARACTERS]
    if not text.strip():
        return EMPTY
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

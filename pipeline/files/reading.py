"""The text of a file that somebody sent, or why there is none."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from typing import Literal

from pipeline.files import pdf
from pipeline.files.kinds import kind_of, text_of
from pipeline.knowledge.sections import html_to_markdown

MOST = 10 * 1024 * 1024  # bytes of a file
_CHARACTERS = pdf.CHARACTERS
_SECONDS = 30.0  # that reading a PDF may take in all
_WHY = {
    pdf.ENCRYPTED: "it is protected by a password",
    pdf.BROKEN: "it is damaged",
    pdf.EMPTY: "it holds pictures and no text",
}


@dataclass(frozen=True, slots=True)
class Read:
    """status "read" with text; "kept" without, or "refused", with a cause that goes on after "…, because"."""

    mime: str
    status: Literal["read", "kept", "refused"]
    text: str = ""
    cause: str = ""


async def read(name: str, data: bytes) -> Read:
    """Raises nothing for what a file may be."""
    kind = kind_of(name, data)
    match kind.reading:
        case "refused":
            return Read(kind.mime, "refused", cause="programs are not taken")
        case "none":
            return Read(kind.mime, "kept", cause="I can read texts and PDF files only")
        case "pdf":
            return await _read_pdf(kind.mime, data)
        case "html":
            title, content = html_to_markdown(text_of(data))
            return _text(kind.mime, f"# {title}\n\n{content}" if title else content)
        case _:
            return _text(kind.mime, text_of(data))


def _text(mime: str, text: str) -> Read:
    text = text.replace("\x00", "")[:_CHARACTERS]
    return Read(mime, "read", text) if text.strip() else Read(mime, "kept", cause="it is empty")


async def _read_pdf(mime: str, data: bytes) -> Read:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pipeline.files.pdf",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    try:
        async with asyncio.timeout(_SECONDS):
            out, _ = await process.communicate(data)
    except TimeoutError:
        return Read(mime, "kept", cause="reading it takes too long")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == 0:
        return _text(mime, out.decode())
    return Read(mime, "kept", cause=_WHY.get(process.returncode or 0, "it cannot be read"))

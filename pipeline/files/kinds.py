"""What a file really is, by its first bytes and not by what its sender calls it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Reading = Literal["text", "html", "pdf", "none", "refused"]

_MAGIC: tuple[tuple[bytes, str, Reading], ...] = (
    (b"%PDF-", "application/pdf", "pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png", "none"),
    (b"\xff\xd8\xff", "image/jpeg", "none"),
    (b"GIF8", "image/gif", "none"),
    (b"PK\x03\x04", "application/zip", "none"),
    (b"OggS", "audio/ogg", "none"),
    (b"ID3", "audio/mpeg", "none"),
    (b"MZ", "application/x-msdownload", "refused"),
    (b"\x7fELF", "application/x-elf", "refused"),
    (b"\xfe\xed\xfa", "application/x-mach-binary", "refused"),
    (b"\xcf\xfa\xed\xfe", "application/x-mach-binary", "refused"),
    (b"\xca\xfe\xba\xbe", "application/java-vm", "refused"),
)
# What runs when it is opened has no place in a store from which people download.
_RUNS = re.compile(r"\.(exe|dll|com|scr|bat|cmd|msi|ps1|vbs|vbe|jse|wsf|hta|lnk|jar|apk|dmg|pkg|deb|rpm)$", re.I)
_HTML = re.compile(rb"\s*(<!doctype html|<html|<head|<body)", re.I)
_SAMPLE = 4096
_CONTROL = frozenset(range(32)) - {9, 10, 12, 13, 27}


@dataclass(frozen=True, slots=True)
class Kind:
    """`mime` as found out; `reading` says how text is got from it, "none" when there is none."""

    mime: str
    reading: Reading


def kind_of(name: str, data: bytes) -> Kind:
    """Looks at the bytes first, then at the name."""
    if _RUNS.search(name):
        return Kind("application/octet-stream", "refused")
    for magic, mime, reading in _MAGIC:
        if data.startswith(magic):
            return Kind(mime, reading)
    if data[8:12] == b"WEBP" and data.startswith(b"RIFF"):
        return Kind("image/webp", "none")
    if data[4:8] == b"ftyp":
        return Kind("video/mp4", "none")
    if _HTML.match(data[:_SAMPLE]):
        return Kind("text/html", "html")
    if _is_text(data):
        return Kind("text/plain", "text")
    return Kind("application/octet-stream", "none")


def _is_text(data: bytes) -> bool:
    sample = data[:_SAMPLE]
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    return bool(sample.strip()) and not any(byte in _CONTROL for byte in sample)


def text_of(data: bytes) -> str:
    """The characters of a text file: UTF-8, UTF-16 with its mark, else Windows-1252, which knows almost every byte."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")

"""The portal's page and what it loads: plain files, the same for everybody, and a policy that lets in no other."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from aiohttp import web

from gateway.portal import tokens
from gateway.requests import headers_for
from gateway.web import Answer, Call, Shape
from kernel.errors import NotFound

FOLDER = Path(__file__).resolve().parent / "page"
_KINDS = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}


class Frame(Shape):
    frame: str = ""


@cache
def _held() -> dict[str, tuple[bytes, bytes, str, str]]:
    """Each file's name: its bytes, the same packed, its tag and its type."""
    found = {}
    for path in FOLDER.iterdir():
        if path.suffix in _KINDS:
            data = path.read_bytes()
            tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
            found[path.name] = (data, gzip.compress(data, 9, mtime=0), tag, _KINDS[path.suffix])
    return found


@cache
def _page() -> bytes:
    return (FOLDER / "portal.html").read_bytes()


def policy(origins: Sequence[str]) -> str:
    """Scripts, styles and calls of our own only, nothing inline, no code made of text, no frame but on these pages."""
    none = "'none'"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'; "
        f"frame-ancestors {' '.join(origins) if origins else none}"
    )


async def page(call: Call) -> web.Response:
    """The page. What it may show comes later, in exchange for what stands behind the `#` of its address, which browsers
    do not send."""
    asked: Frame = call.query
    origins = tokens.read_frame(call.services.ground.ring, asked.frame)
    if origins is None:
        raise NotFound("this is no address of the portal")
    headers = headers_for(call.request_id, **{"Content-Security-Policy": policy(origins)})
    if origins:
        del headers["X-Frame-Options"]  # it knows no list; browsers that know none either obey frame-ancestors
    return web.Response(body=_page(), headers=headers, content_type="text/html", charset="utf-8")


async def file(call: Call) -> Answer:
    """Kept by browsers, and asked for again each time whether it is still the same: all of them belong together."""
    held = _held().get(call.path["file"])
    if held is None:
        raise NotFound("the portal has no such file")
    data, packed, tag, kind = held
    headers = {"Content-Type": kind, "Cache-Control": "no-cache", "ETag": tag, "Vary": "Accept-Encoding"}
    if tag in re.findall(r'"[^"]*"', call.request.headers.get("If-None-Match", "")):
        return Answer(b"", status=304, headers=headers)
    if "gzip" in call.request.headers.get("Accept-Encoding", ""):
        return Answer(packed, headers={**headers, "Content-Encoding": "gzip"})
    return Answer(data, headers=headers)

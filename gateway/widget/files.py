"""The widget's script, and a page that embeds it to look at."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import re
from functools import cache
from pathlib import Path

from gateway.web import Answer, Call, Route
from gateway.widget import door
from kernel.errors import NotFound

_FOLDER = Path(__file__).resolve().parent


@cache
def _script() -> tuple[bytes, bytes, str]:
    """The script with its style sheet, the same packed, and its tag."""
    style = (_FOLDER / "widget.css").read_text(encoding="utf-8")
    lean = re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", "", style, flags=re.S)).strip()
    body = (_FOLDER / "widget.js").read_text(encoding="utf-8").replace("/* style */", lean.replace("\\", "\\\\"))
    data = body.encode()
    return data, gzip.compress(data, 9, mtime=0), f'"{hashlib.sha256(data).hexdigest()[:32]}"'


async def script(call: Call) -> Answer:
    """For a script element: `src` this address, `data-account` the channel's account_id. Nothing else is needed."""
    body, packed, tag = _script()
    headers = {
        "Content-Type": "text/javascript; charset=utf-8",
        "Cache-Control": "public, max-age=300, stale-while-revalidate=86400",
        "ETag": tag,
        "Vary": "Accept-Encoding",
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    if tag in re.findall(r'"[^"]*"', call.request.headers.get("If-None-Match", "")):
        return Answer(b"", status=304, headers=headers)
    if "gzip" in call.request.headers.get("Accept-Encoding", ""):
        return Answer(packed, headers={**headers, "Content-Encoding": "gzip"})
    return Answer(body, headers=headers)


@cache
def _demo() -> tuple[str, str]:
    """The page's template, and a policy like that of a careful host: nothing inline but the page's own style sheet."""
    template = (_FOLDER / "demo.html").read_text(encoding="utf-8")
    style = template.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    own = "script-src 'self'; connect-src 'self'"
    return template, f"default-src 'none'; style-src 'sha256-{digest}'; {own}; base-uri 'none'; frame-ancestors 'none'"


async def demo(call: Call) -> Answer:
    """A page of a made-up host with this channel's chat on it, for looking at."""
    account = await door.account_of(call)
    template, policy = _demo()
    root = str(call.services.ground.settings.public_url or f"{call.request.scheme}://{call.request.host}")
    shown = {"account": account.account_id, "root": root, "title": account.settings.get("title") or "Chat"}
    body = re.sub(r"\{\{(\w+)\}\}", lambda found: html.escape(shown[found.group(1)]), template)
    return Answer(body.encode(), headers={"Content-Security-Policy": policy})


ROUTES = [
    Route("GET", "/widget.js", script, "public", "The chat for other people's pages", "web", media="text/javascript"),
    Route(
        "GET",
        "/widget/demo/{account_id}",
        demo,
        "public",
        "A page with the chat on it, to look at",
        "web",
        media="text/html",
        errors=(NotFound,),
    ),
]

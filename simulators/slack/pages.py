"""The page where a person chats as several users: plain files, no script or style from anywhere else."""

from functools import partial
from pathlib import Path

from aiohttp import web

HERE = Path(__file__).parent
SCRIPTS = ("app.js", "api.js", "blocks.js", "faults.js", "mrkdwn.js", "render.js", "rooms.js", "views.js")
FILES = {"/": ("page.html", "text/html")} | {f"/{name}": (name, "text/javascript") for name in SCRIPTS}
FILES |= {f"/{name}": (name, "text/css") for name in ("style.css", "content.css", "oauth.css")}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self'; "
        # Framed by a page that shows several platforms side by side, on this machine.
        "connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self' http://127.0.0.1:* http://localhost:*"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def add_pages(app: web.Application) -> None:
    for route, (name, mime) in FILES.items():
        app.router.add_get(route, partial(_page, HERE / name, mime))


async def _page(path: Path, mime: str, _: web.Request) -> web.Response:
    return web.Response(body=path.read_bytes(), content_type=mime, charset="utf-8", headers=HEADERS)

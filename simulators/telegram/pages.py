"""The page where a person chats as several users: three files, no script or style from anywhere else."""

from functools import partial
from pathlib import Path

from aiohttp import web

HERE = Path(__file__).parent
SCRIPTS = ("app.js", "api.js", "faults.js", "render.js")
FILES = {"/": ("page.html", "text/html"), "/style.css": ("style.css", "text/css")} | {
    f"/{name}": (name, "text/javascript") for name in SCRIPTS
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
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

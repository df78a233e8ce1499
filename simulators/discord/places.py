"""Where this simulator is, as the one who asks sees it: behind a prefix as well as at the root."""

from aiohttp import web


def root_of(request: web.Request, known: str) -> str:
    """http(s)://host[:port][/prefix], without a slash at the end. known: what follows it in the path of the request."""
    prefix = request.path[: request.path.rindex(known)] if known in request.path else ""
    return f"{request.scheme}://{request.host}{prefix}"


def socket_url(root: str) -> str:
    """The gateway's address under a root."""
    return f"ws{root.removeprefix('http')}/gateway"

"""Free ports, local addresses, and whether something answers there."""

from __future__ import annotations

import asyncio
import errno
import socket

from kernel.errors import ConfigError

_NEIGHBOURS = 20


def is_free(host: str, port: int) -> bool:
    """Whether we could listen there. Raises ConfigError when the address is not ours at all."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except PermissionError as error:
        raise ConfigError(f"--port: you may not listen on {port}; ports below 1024 are root's") from error
    except socket.gaierror as error:
        raise ConfigError(f"--host: {host!r} is no address of this machine") from error
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise ConfigError(f"--host: {host!r} is no address of this machine") from error
        return False
    return True


def free_port(host: str, first: int) -> int:
    """The first free port from `first` on, or any."""
    for port in range(first, first + _NEIGHBOURS):
        if is_free(host, port):
            return port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    return int(port)


def local_url(host: str, port: int) -> str:
    """Where a browser on this machine finds what listens on `host`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def unready(host: str, port: int, path: str) -> str | None:
    """None when GET answers 200 within two seconds, else what it says: a probe for the supervisor."""
    target = local_url(host, port).removeprefix("http://").rpartition(":")[0].strip("[]")
    try:
        async with asyncio.timeout(2.0):
            reader, writer = await asyncio.open_connection(target, port)
            try:
                writer.write(f"GET {path} HTTP/1.0\r\nHost: {target}\r\n\r\n".encode())
                status = (await reader.readline()).decode(errors="replace").strip()
                answer = (await reader.read(4096)).decode(errors="replace").rpartition("\r\n\r\n")[2]
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        return str(error) or type(error).__name__
    return None if " 200" in status else f"{status} {answer[:300]}".strip() or "it hung up"

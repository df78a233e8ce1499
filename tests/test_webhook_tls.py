"""TLS to receivers: only trusted ones, and with a client certificate where an endpoint has one."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.certificates import Authority, authority, private_pem, server_context
from webhooks import tls
from webhooks.options import Options, Tls
from webhooks.transport import Outcome, Session, open_session, post, timeouts

LOOPBACK = (ip_network("127.0.0.0/8"),)
NOW = datetime.now(UTC)


@asynccontextmanager
async def receiver(context: ssl.SSLContext) -> AsyncIterator[tuple[str, list[str]]]:
    """An https receiver, and the names of the clients that it heard, '' for those without a certificate."""
    heard: list[str] = []

    async def hear(request: web.Request) -> web.Response:
        assert request.transport
        found = request.transport.get_extra_info("peercert") or {}
        heard.append(dict(pair for part in found.get("subject", ()) for pair in part).get("commonName", ""))
        return web.Response(text="thanks")

    app = web.Application()
    app.router.add_post("/hook", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield f"https://127.0.0.1:{runner.addresses[0][1]}/hook", heard
    finally:
        await runner.cleanup()


async def send(session: Session, url: str, own: Tls | None = None) -> Outcome:
    return await post(session, url, {}, b"{}", timeouts(5.0), Options(tls=own))


@pytest.fixture(scope="module")
def servers() -> Authority:
    return authority("Servers")


@pytest.fixture(scope="module")
def clients() -> Authority:
    return authority("Clients")


async def test_case_37_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path, servers: Authority) -> None:
    async with (
        receiver(server_context(tmp_path, servers.issue("r"))) as (url, heard),
        open_session(LOOPBACK) as session,
    ):
        outcome = await post(session, url, {}, b"{}", timeouts(5.0))
        assert (outcome.status, outcome.error_code) == (None, "tls_error")
        other = await send(session, url, Tls(ca=authority("Another").certificate))
        assert other.error_code == "tls_error"
        assert not heard
        assert (await send(session, url, Tls(ca=servers.certificate))).ok
    assert heard == [""]


async def test_a_certificate_that_ended_is_refused(tmp_path: Path, servers: Authority) -> None:
    context = server_context(tmp_path, servers.issue("r", days=-1))
    async with receiver(context) as (url, heard), open_session(LOOPBACK) as session:
        assert (await send(session, url, Tls(ca=servers.certificate))).error_code == "tls_error"
    assert not heard


async def test_a_client_certificate_is_shown_to_the_receiver(
    tmp_path: Path, servers: Authority, clients: Authority
) -> None:
    context = server_context(tmp_path, servers.issue("r"), clients)
    known, other = clients.issue("parley"), clients.issue("somebody else")
    stranger = authority("Strangers").issue("parley")
    async with receiver(context) as (url, heard), open_session(LOOPBACK) as session:
        for _ in range(2):
            assert (await send(session, url, Tls(known.certificate, known.key, servers.certificate))).ok
        assert (await send(session, url, Tls(other.certificate, other.key, servers.certificate))).ok
        assert heard == ["parley", "parley", "somebody else"]
        for nobody in (Tls(ca=servers.certificate), Tls(stranger.certificate, stranger.key, servers.certificate)):
            refused = await send(session, url, nobody)
            assert (refused.ok, refused.error_code in ("tls_error", "connection_reset")) == (False, True)
    assert len(heard) == 3


async def test_endpoints_do_not_share_each_others_connections(
    tmp_path: Path, servers: Authority, clients: Authority
) -> None:
    """One that was let in must not open the door for another one that would not be."""
    context = server_context(tmp_path, servers.issue("r"))
    context.load_verify_locations(cadata=clients.certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    known = clients.issue("parley")
    async with receiver(context) as (url, heard), open_session(LOOPBACK) as session:
        for own in (Tls(known.certificate, known.key, servers.certificate), Tls(ca=servers.certificate)) * 2:
            assert (await send(session, url, own)).ok
    assert heard == ["parley", "", "parley", ""]


async def test_texts_that_became_useless_are_a_fault_of_the_credentials() -> None:
    async with open_session(LOOPBACK) as session:
        outcome = await send(session, "https://127.0.0.1:9/", Tls("-----BEGIN CERTIFICATE-----\nx", "y"))
    assert outcome.error_code == "auth_error"
    assert not outcome.ours


def test_good_texts_have_no_fault_and_show_whose_they_are(clients: Authority) -> None:
    issued = clients.issue("parley")
    own = Tls(issued.certificate + clients.certificate, issued.key, clients.certificate)
    assert tls.fault(own, NOW) is None
    shown = tls.shown(own)
    assert (shown["subject"], shown["ca"], len(shown["fingerprint"])) == ("CN=parley", True, 64)
    assert datetime.fromisoformat(shown["not_after"]) > NOW
    assert "PRIVATE" not in repr(own)


def large() -> str:
    key = rsa.generate_private_key(65_537, 5_120)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def agreeing() -> str:
    key = x25519.X25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def locked(pem: str) -> str:
    key = load_pem_private_key(pem.encode(), None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")).decode()


def test_faults_name_the_text(clients: Authority) -> None:
    issued, ended = clients.issue("parley"), clients.issue("parley", days=-1)
    other = private_pem(ec.generate_private_key(ec.SECP256R1()))
    for own, name, word in (
        (Tls(issued.certificate), "key", "belong together"),
        (Tls(key=issued.key), "certificate", "belong together"),
        (Tls("nonsense", issued.key), "certificate", "no PEM"),
        (Tls(issued.key, issued.key), "certificate", "no PEM"),
        (Tls(issued.certificate, "nonsense"), "key", "no PEM"),
        (Tls(issued.certificate, locked(issued.key)), "key", "password"),
        (Tls(issued.certificate, other), "key", "does not belong"),
        (Tls(issued.certificate, large()), "key", "4096 bits"),
        (Tls(issued.certificate, agreeing()), "key", "does not sign"),
        (Tls(ended.certificate, ended.key), "certificate", "ended on"),
        (Tls(ca="nonsense"), "ca", "no PEM"),
        (Tls("x" * (tls.LONGEST + 1), issued.key), "certificate", "at most"),
    ):
        found = tls.fault(own, NOW)
        assert found, (own, name)
        assert found[0] == name, found
        assert word in found[1], found

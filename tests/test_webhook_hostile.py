"""Receivers that mean harm: what they get is an outcome, some bytes of memory, and no more time than the deadline."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from bench.webhooks.hostile.receivers import SCRIPTS
from webhooks.bounded import MOST
from webhooks.transport import MAX_BODY, Outcome, open_session, post, timeouts

ROOT = Path(__file__).resolve().parent.parent
LOOPBACK = (ip_network("127.0.0.0/8"),)
OK = b"HTTP/1.1 200 OK\r\n"

# What may come of a send to each, beside what came of the second one over a line that was cut after the first.
OUTCOMES = {
    "a gigabyte": {"ok 200"},
    "a gigabyte in chunks": {"ok 200"},
    "a gigabyte of one-byte chunks": {"ok 200"},
    "a body without an end": {"ok 200"},
    "a gigabyte to a 500": {"http_status 500"},
    "a gzip bomb": {"ok 200"},
    "a deflate bomb": {"ok 200"},
    "one byte a second": {"timeout 200"},
    "one byte a second of a head": {"timeout"},
    "nothing at all": {"timeout"},
    "nothing, and reads nothing": {"timeout"},
    "a status line without an end": {"protocol_error"},
    "a header without an end": {"protocol_error"},
    "headers without an end": {"protocol_error"},
    "headers of some bytes without an end": {"protocol_error"},
    "cookies without an end": {"protocol_error"},
    "trailers without an end": {"ok 200", "protocol_error 200", "protocol_error"},
    "a chunk's size without an end": {"ok 200"},
    "a chunk's extension without an end": {"ok 200"},
    "100 Continue without an end": {"protocol_error"},
    "no HTTP without an end": {"protocol_error"},
    "a redirect to itself": {"redirect 307", "connection_reset"},
    "another protocol": {"http_status 101", "protocol_error"},
    "a negative length": {"protocol_error"},
    "a length beyond all numbers": {"protocol_error"},
    "two lengths": {"protocol_error"},
    "an answer before the request": {"ok 200", "timeout", "connection_reset"},
    "an answer in advance": {"http_status 500"},
    "half-closed before an answer": {"connection_reset"},
    "half-closed in a head": {"connection_reset"},
    "half-closed in a body": {"protocol_error 200"},
    "reset when taken": {"connection_reset", "unreachable"},
    "reset before an answer": {"connection_reset"},
    "reset in the status line": {"connection_reset", "protocol_error"},
    "reset in a head": {"connection_reset", "protocol_error"},
    "reset in a body": {"protocol_error 200", "connection_reset 200"},
    "reset in a chunk": {"protocol_error 200", "connection_reset 200"},
    "reset after an answer": {"ok 200", "connection_reset"},
    "no TLS where TLS is expected": {"connect_timeout", "timeout"},
    "garbage where TLS is expected": {"tls_error"},
    "well-behaved": {"ok 200", "connection_reset"},
}


@pytest.fixture(scope="module")
async def findings() -> dict[str, dict[str, Any]]:
    """What `python -m bench.webhooks.hostile` found."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.webhooks.hostile", "--short", "--json",
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        said, complaints = await asyncio.wait_for(process.communicate(), 300)
    finally:
        if process.returncode is None:
            process.kill()
    assert said, complaints.decode()
    return {one["receiver"]: one for one in json.loads(said)}


def test_every_hostile_receiver_is_expected_to_come_to_something() -> None:
    assert set(OUTCOMES) == set(SCRIPTS)


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_hostile_receiver_costs_little_memory_and_ends_at_the_deadline(
    findings: dict[str, dict[str, Any]], name: str
) -> None:
    found = findings[name]
    assert set(found["outcomes"]) <= OUTCOMES[name], found
    assert found["bounded"], found
    assert found["kept"] <= MAX_BODY


def test_a_redirect_is_not_followed_and_nobody_is_dialled_for_it(findings: dict[str, dict[str, Any]]) -> None:
    found = findings["a redirect to itself"]
    assert found["connections"] <= sum(found["outcomes"].values())


@asynccontextmanager
async def receiver(*answers: bytes) -> AsyncIterator[tuple[str, list[int]]]:
    """Answers one request after the other with these bytes; counts connections."""
    connections = [0]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[0] += 1
        with suppress(OSError, asyncio.IncompleteReadError):
            for answer in answers:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(2)
                writer.write(answer)
                await writer.drain()
            await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", connections


async def send(*answers: bytes) -> tuple[list[Outcome], int]:
    async with receiver(*answers) as (url, connections), open_session(LOOPBACK) as session:
        return [await post(session, url, {}, b"{}", timeouts(10)) for _ in answers], connections[0]


@pytest.mark.parametrize("size", [8, 64, 4_096])
async def test_an_honest_answer_in_chunks_arrives_whole(size: int) -> None:
    chunk = b"%x\r\n%b\r\n" % (size, b"x" * size)
    body = chunk * (MAX_BODY // size) + b"0\r\n\r\n"
    (outcome,), _ = await send(OK + b"X-Long: " + b"y" * 2_000 + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    assert outcome.ok
    assert (outcome.body, outcome.truncated) == (b"x" * MAX_BODY, False)


async def test_the_bound_is_an_answers_and_not_a_connections() -> None:
    answer = OK + b"Content-Length: %d\r\n\r\n" % MAX_BODY + b"x" * MAX_BODY
    outcomes, connections = await send(*[answer] * 6)
    assert [len(outcome.body) for outcome in outcomes] == [MAX_BODY] * 6
    assert connections == 1
    assert 6 * MAX_BODY > MOST


async def test_early_hints_are_passed_over() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n" * 3
    (outcome,), _ = await send(hints + OK + b"Content-Length: 2\r\n\r\nok")
    assert (outcome.status, outcome.body) == (200, b"ok")


async def test_too_many_interim_answers_are_no_answer() -> None:
    (outcome,), _ = await send(b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000 + OK + b"Content-Length: 2\r\n\r\nok")
    assert (outcome.status, outcome.error_code) == (None, "protocol_error")


@pytest.mark.parametrize("spare", [0, 1])
async def test_a_head_may_have_so_many_bytes_and_not_one_more(spare: int) -> None:
    lines = [b"X-%03d: " % n + b"y" * 1_000 + b"\r\n" for n in range(31)]
    head = OK + b"".join(lines) + b"Content-Length: 0\r\n\r\n"
    filler = b"X-Rest: " + b"z" * (MOST - len(head) - len(b"X-Rest: \r\n") + spare) + b"\r\n"
    answer = OK + b"".join(lines) + filler + b"Content-Length: 0\r\n\r\n"
    assert len(answer) == MOST + spare
    (outcome,), _ = await send(answer)
    assert (outcome.error_code, outcome.status) == (("protocol_error", None) if spare else ("", 200))

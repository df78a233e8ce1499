"""The commands, as a person or a script uses them, against a served gateway over real stores."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from aiohttp import web

from gateway.cli import main
from gateway.client import CallFailed, Target, connect
from gateway.commands import ports
from gateway.commands.grammar import names
from gateway.commands.reading import MOST_DOCUMENTS, Document, Fault, batches, read, stamps
from gateway.commands.terminal import plain
from gateway.services import Ground
from kernel.ids import new_id
from kernel.secrets import KeyRing
from kernel.settings import Settings, table
from simulators.telegram.server import Simulator, run_simulator
from tests.conftest import Stores
from tests.gateway_parts import TOKEN
from tests.http_face import Server, client, served


@dataclass(frozen=True, slots=True)
class Run:
    status: int
    out: str
    err: str


Command = Callable[..., Awaitable[Run]]


@pytest.fixture(scope="module")
async def telegram() -> AsyncIterator[Simulator]:
    async with run_simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
async def server(ground: Ground, telegram: Simulator) -> AsyncIterator[Server]:
    async with served(ground, telegram_url=telegram.url) as server:
        yield server


@pytest.fixture
def shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Awaitable[Run]]:
    """Runs a command with this environment and standard input."""
    for row in table(Settings()):
        monkeypatch.delenv(row["name"], raising=False)
    monkeypatch.setenv("PARLEY_DATA_DIR", str(tmp_path / "data"))

    async def run(*argv: str, stdin: str = "", **environ: str) -> Run:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        try:
            status = await asyncio.to_thread(main, list(argv))
        except SystemExit as ended:
            status = int(ended.code or 0)
        printed = capsys.readouterr()
        return Run(status, printed.out, printed.err)

    return run


@pytest.fixture
async def parley(server: Server, workspace_id: str, shell: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Commands that talk to the served gateway with an owner's key."""
    api = await client(server, workspace_id)
    monkeypatch.setenv("PARLEY_URL", server.url)
    monkeypatch.setenv("PARLEY_API_KEY", api.api_key)
    return shell


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom gateway.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'aiohttp', 'asyncpg', 'orjson', 'pydantic', 'numpy', 'onnxruntime', 'uvloop'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout


async def test_wrong_usage_ends_with_2(shell: Command) -> None:
    assert (await shell()).status == 2
    assert (await shell("dance")).status == 2
    assert (await shell("up", "--port", "70000")).status == 2
    wrong = await shell("webhooks", "listen", "--status", "9")
    assert (wrong.status, wrong.err) == (2, "parley: --status: numbers from 200 to 599, separated by commas\n")


async def test_without_a_gateway_the_error_says_what_to_do(shell: Command) -> None:
    asked = await shell("ask", "hello")
    assert asked.status == 1
    assert asked.err.startswith("parley: no gateway known: start one with `parley up`")
    assert asked.err.count("\n") == 1
    port = ports.free_port("127.0.0.1", 20_000)
    gone = await shell("ask", "hello", "--url", f"http://127.0.0.1:{port}", "--api-key", "x")
    assert gone.status == 1
    assert gone.err.startswith(f"parley: cannot reach http://127.0.0.1:{port} (")


async def test_the_data_directorys_key_goes_to_its_own_gateway_only(shell: Command, tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text('{"url": "http://127.0.0.1:1", "api_key": "prl"}')
    other = await shell("keys", "list", "--data-dir", str(tmp_path), "--url", "http://127.0.0.1:2")
    assert other.status == 1
    assert "no key for http://127.0.0.1:2" in other.err
    (tmp_path / "credentials.json").write_text("{")
    assert "is damaged" in (await shell("keys", "list", "--data-dir", str(tmp_path))).err


async def test_ask(parley: Command) -> None:
    told = await parley("ask", "what", "now?")
    assert (told.status, told.out) == (0, "you said: what now?\n")
    whole = json.loads((await parley("ask", "--json", "and then?")).out)
    assert whole["answer"] == "you said: and then?"
    refused = await parley("ask", "hello", "--api-key", "nonsense")
    assert refused.status == 1
    assert refused.err.startswith("parley: a valid API key is needed")


async def test_chat_in_a_pipe_is_one_conversation(parley: Command, server: Server) -> None:
    told = await parley("chat", "--json", stdin="first\n\nsecond\n")
    assert told.status == 0
    decoder, text, answers = json.JSONDecoder(), told.out, []
    while text.strip():
        answer, end = decoder.raw_decode(text.lstrip())
        text = text.lstrip()[end:]
        answers.append(answer)
    assert [answer["answer"] for answer in answers] == ["you said: first", "you said: second"]
    assert len({answer["conversation_id"] for answer in answers}) == 1
    plainly = await parley("chat", stdin="third\n")
    assert plainly.out == "you said: third\n\n"


async def test_keys(parley: Command, shell: Command) -> None:
    made = json.loads((await parley("keys", "create", "reader", "--scopes", "read", "--json")).out)
    listed = json.loads((await parley("keys", "list", "--json")).out)["items"]
    assert {"reader", "test"} == {item["name"] for item in listed}
    assert "reader" in (await parley("keys", "list")).out
    forbidden = await shell("keys", "list", "--api-key", made["api_key"])
    assert forbidden.status == 1
    assert (await parley("keys", "revoke", made["key_id"])).out == f"{made['key_id']} revoked\n"
    assert (await parley("keys", "revoke", "key_none")).status == 1


async def test_webhooks(parley: Command) -> None:
    added = await parley("webhooks", "add", "http://127.0.0.1:20009/hook", "--events", "chat.*", "--json")
    assert added.status == 0, added.err
    made = json.loads(added.out)
    assert made["secret"].startswith("whsec_")
    assert made["webhook_id"] in (await parley("webhooks", "list")).out
    bad = await parley("webhooks", "add", "http://127.0.0.1:20009/hook", "--events", "no such type")
    assert bad.status == 1
    assert (await parley("webhooks", "resend", "dlv_none")).status == 1


async def test_webhooks_with_options(parley: Command, tmp_path: Path) -> None:
    more = tmp_path / "more.json"
    more.write_text('{"max_in_flight": 3, "events": ["ping"], "auth": {"kind": "bearer", "token": "hush"}}')
    secret = tmp_path / "secret"
    secret.write_text("whsec_" + "QUJD" * 10 + "\n")
    asked = [
        "webhooks", "add", "http://127.0.0.1:20009/hook", "--uid", "billing", "--events", "chat.*,*.failed",
        "--description", "Bills", "--channel", "slack", "--channel", "acc_1", "--condition", '{"rating": {"$lt": 0}}',
        "--payload", "thin", "--header", "X-Team: a:b", "--signing", "v1+v1a", "--secret-file", str(secret),
        "--timeout", "7.5", "--rate", "1000/10m", "--ordered", "--options", str(more),
    ]  # fmt: skip
    added = await parley(*asked)
    assert added.status == 0, added.err
    assert added.out.splitlines()[0] == secret.read_text().strip()
    assert added.out.splitlines()[1].startswith("whpk_")
    assert (await parley(*asked)).status == 0
    [made] = json.loads((await parley("webhooks", "list", "--json")).out)["items"]
    expected = {
        "uid": "billing", "events": ["chat.*", "*.failed"], "description": "Bills", "channels": ["slack", "acc_1"],
        "condition": {"rating": {"$lt": 0}}, "payload_mode": "thin", "headers": {"X-Team": "a:b"},
        "signing": "v1+v1a", "timeout_seconds": 7.5, "rate_limit": {"count": 1000, "seconds": 600},
        "ordering": "conversation", "max_in_flight": 3, "auth": {"kind": "bearer"},
    }  # fmt: skip
    assert {name: made[name] for name in expected} == expected
    webhook_id = made["webhook_id"]
    assert (await parley("webhooks", "disable", webhook_id)).out == f"{webhook_id} is disabled\n"
    assert "by request" in (await parley("webhooks", "list")).out
    assert (await parley("webhooks", "enable", webhook_id)).out == f"{webhook_id} is enabled\n"
    turned = await parley("webhooks", "rotate", webhook_id, "--overlap", "2h", "--kind", "v1")
    assert turned.out.startswith("whsec_")
    assert "sign until" in turned.err
    assert "hush" not in (await parley("webhooks", "list", "--json")).out


@pytest.mark.parametrize(
    "wrong",
    [
        ("--rate", "fast"), ("--condition", "{"), ("--condition", "[]"), ("--header", "X-Team"),
        ("--options", "missing.json"), ("--secret-file", "missing"),
    ],
)  # fmt: skip
async def test_webhooks_with_wrong_options(parley: Command, wrong: tuple[str, str]) -> None:
    refused = await parley("webhooks", "add", "http://127.0.0.1:20009/hook", *wrong)
    assert refused.status != 0
    assert wrong[0] in refused.err
    assert (await parley("webhooks", "rotate", "wh_none", "--overlap", "soon")).status != 0
    assert (await parley("webhooks", "rotate", "wh_none")).status == 1
    assert (await parley("webhooks", "enable", "wh_none")).status == 1


async def test_hooks(parley: Command, tmp_path: Path) -> None:
    text = tmp_path / "text.md"
    text.write_text("**{{ title }}**\n")
    whole = tmp_path / "whole.toml"
    whole.write_text('ignore = { draft = true }\ntext = "{{ title }}"\n')
    payload = tmp_path / "call.json"
    payload.write_text('{"title": "Backup", "draft": true}')
    assert (await parley("ask", "hello")).status == 0  # so that there is a user
    (user,) = json.loads((await parley("hooks", "add", "x", "--user", "nobody", "--json")).out)["target"].values()
    assert user == "nobody"
    github = await parley("hooks", "add", "pushes", "--example", "github", "--user", "ann")
    address, secret = github.out.splitlines()
    assert "/hooks/prl_hook_" in address
    assert len(secret) > 30
    stripe = await parley("hooks", "add", "payments", "--example", "stripe", "--user", "ann")
    assert "until it has the secret" in stripe.err
    own = json.loads((await parley("hooks", "add", "own", "--template", str(text), "--user", "ann", "--json")).out)
    assert own["template"] == {"text": "**{{ title }}**\n"}
    ignoring = json.loads((await parley("hooks", "add", "t", "--template", str(whole), "--user", "ann", "--json")).out)
    listed = (await parley("hooks", "list")).out
    assert "pushes" in listed
    assert address.rpartition("/")[2] not in listed
    assert secret not in listed
    shown = await parley("hooks", "test", own["hook_id"], "--payload", str(payload), "--header", "X-A: b")
    assert (shown.status, shown.out) == (1, "refused: target.user_id: there is no such user\n")
    ignored = await parley("hooks", "test", ignoring["hook_id"], "--payload", "-", stdin='{"draft": true}')
    assert (ignored.status, ignored.out) == (0, "ignored: the condition for ignoring it holds\n")
    assert (await parley("hooks", "test", own["hook_id"], "--header", "X")).err == "parley: --header: NAME:VALUE\n"
    assert "this is no JSON" in (await parley("hooks", "test", own["hook_id"], "--payload", str(text))).err
    bad = await parley("hooks", "add", "bad", "--example", "github")
    assert (bad.status, "target: either user_id" in bad.err) == (1, True)
    assert (await parley("hooks", "remove", own["hook_id"])).out == f"{own['hook_id']} removed\n"
    assert (await parley("hooks", "remove", own["hook_id"])).status == 1


async def test_channels(parley: Command, telegram: Simulator, tmp_path: Path) -> None:
    async def items() -> list[str]:
        found = json.loads((await parley("channels", "list", "--json")).out)["items"]
        return [str(item["account_id"]) for item in found if item["kind"] == "telegram"]

    refused = await parley("channels", "connect", "telegram", "--token", TOKEN)
    assert refused.status == 1
    assert "Telegram refuses" in refused.err
    assert await items() == []
    file = tmp_path / "token"
    file.write_text(f"{telegram.bot.token}\n")
    connected = await parley("channels", "connect", "telegram", "--mode", "polling", "--token-file", str(file))
    assert connected.status == 0, connected.err
    [account_id] = await items()
    assert connected.out == f"{account_id} connected: @{telegram.bot.username}\n"
    assert telegram.bot.username in (await parley("channels", "list")).out
    assert (await parley("channels", "disconnect", account_id)).status == 0
    assert await items() == []
    missing = await parley("channels", "connect", "telegram", "--token-file", str(tmp_path / "none"))
    assert (missing.status, "--token-file" in missing.err) == (1, True)


async def test_an_overloaded_gateway_is_asked_again_under_the_same_key() -> None:
    keys: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) < 3:
            body = {"message": "busy", "code": "overloaded", "details": [], "retry_after": 0.01}
            return web.json_response(body, status=503)
        return web.json_response({"fine": True})

    async def lost(request: web.Request) -> web.Response:
        return web.Response(text="<html>", status=502)

    app = web.Application()
    app.router.add_post("/busy", answer)
    app.router.add_get("/proxy", lost)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with connect(Target(f"http://127.0.0.1:{runner.addresses[0][1]}", "k")) as api:
        assert await api.post("/busy", {}) == {"fine": True}
        assert len(keys) == 3
        assert len(set(keys)) == 1
        with pytest.raises(CallFailed, match="HTTP 502 and not Parley's"):
            await api.get("/proxy")
    await runner.cleanup()


async def test_settings_and_secrets(shell: Command) -> None:
    assert json.loads((await shell("settings", "--json")).out) == table(Settings.read())
    ring = (await shell("secrets", "generate")).out.strip()
    assert KeyRing.parse(ring).current == "k1"
    bad = await shell("settings", LOG_LEVEL="LOUD")
    assert (bad.status, bad.err) == (1, "parley: LOG_LEVEL: must be DEBUG, INFO, WARNING or ERROR\n")


async def test_a_deployments_first_steps(shell: Command, stores: Stores) -> None:
    name = new_id("db")
    conn = await asyncpg.connect(stores.admin_url)
    await conn.execute(f"CREATE DATABASE {name}")
    await conn.close()

    def there(url: str) -> str:
        return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))

    ring = (await shell("secrets", "generate")).out.strip()
    env = {
        "DATABASE_URL": there(stores.app_url),
        "DATABASE_ADMIN_URL": there(stores.admin_url),
        "REDIS_URL": stores.redis_url,
        "PARLEY_SECRET_KEYS": ring,
    }
    assert json.loads((await shell("migrate", "--json", **env)).out)["applied"] >= 5
    assert (await shell("migrate")).out == "the database is up to date\n"
    assert (await shell("keys", "owner")).out.startswith("prl_live_")
    assert (await shell("doctor")).status == 0
    refused = await shell("migrate", DATABASE_ADMIN_URL="postgresql://nobody@127.0.0.1:1/none")
    assert refused.status == 1
    assert refused.err.startswith("parley: DATABASE_ADMIN_URL: cannot connect")


def test_documents_are_read_from_files_folders_and_corpora(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.md").write_text("# no")
    (tmp_path / "sub" / "a.md").write_text("# Alpha\n\nbody")
    (tmp_path / "b.html").write_text("<title>Beta</title><p>body")
    (tmp_path / "c.txt").write_bytes("plain café".encode("latin-1"))
    (tmp_path / "d.jsonl").write_text('{"id": 1, "title": "One", "text": "x"}\n\n{"id": 2}\nnope\n')
    (tmp_path / "e.pdf").write_bytes(b"%PDF")
    (tmp_path / "empty.md").write_text(" ")
    found = list(read([str(tmp_path), str(tmp_path / "e.pdf"), str(tmp_path / "gone")]))
    documents = {d.title: d for d in found if isinstance(d, Document)}
    assert set(documents) == {"Alpha", "", "c", "One"}
    assert documents["Alpha"].external_id == (tmp_path / "sub" / "a.md").as_uri()
    assert documents[""].format == "html"
    assert documents["c"].text == "plain café"
    assert documents["One"].external_id == "1"
    faults = {Path(f.path).name: f.why for f in found if isinstance(f, Fault)}
    assert set(faults) == {"d.jsonl:3", "d.jsonl:4", "e.pdf", "empty.md", "gone"}
    assert {Path(path).name for path in stamps([str(tmp_path), "-"])} == {
        "a.md", "b.html", "c.txt", "d.jsonl", "empty.md"
    }  # fmt: skip


def test_batches_fit_into_requests() -> None:
    small = [Document(str(n), "", "x") for n in range(MOST_DOCUMENTS + 1)]
    assert [len(batch) for batch in batches(small)] == [MOST_DOCUMENTS, 1]
    large = [Document(str(n), "", "x" * 900_000) for n in range(3)]
    assert [len(batch) for batch in batches(large)] == [2, 1]


def test_foreign_text_cannot_steer_the_terminal() -> None:
    assert plain("a\x1b[31mred\x07\u202e b\n") == "a[31mred b\n"


def test_every_command_has_a_function() -> None:
    import importlib

    from gateway.commands import grammar

    for name in names():
        options, _ = grammar.parser().parse_known_args([*name.split(), *(["telegram"] if "connect" in name else ["x"])])
        module, _, function = options.run.partition(":")
        assert callable(getattr(importlib.import_module(f"gateway.commands.{module}"), function)), name

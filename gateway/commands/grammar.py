"""Every command and its arguments: what `parley --help` tells, and what README lists."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

Commands = Any  # argparse keeps the type of its sub-parsers to itself


def parser() -> argparse.ArgumentParser:
    """The whole grammar. `run` names module and function of a command, `endless` that Ctrl-C is its normal end."""
    root = argparse.ArgumentParser(prog="parley", description="A chat-bot and webhook gateway.")
    root.set_defaults(run=None, endless=False, parser=root)
    commands = root.add_subparsers(metavar="COMMAND", title="commands")
    _processes(commands)
    _operations(commands)
    _talking(commands)
    _knowledge(commands)
    _channels(commands)
    _keys(commands)
    _webhooks(commands)
    _hooks(commands)
    return root


def names() -> list[str]:
    """Every command, `channels list` and the like included."""
    return sorted(_names(parser(), ""))


def _names(of: argparse.ArgumentParser, before: str) -> list[str]:
    choices = [c for a in of._actions if isinstance(a, argparse._SubParsersAction) for c in a.choices.items()]
    below = [_names(sub, f"{before} {name}".strip()) for name, sub in choices]
    return [name for some in below for name in some] if below else [before]


def _command(to: Commands, name: str, run: str | None, help_: str, *parents: argparse.ArgumentParser) -> Any:
    made = to.add_parser(name, help=help_, description=f"{help_[0].upper()}{help_[1:]}.", parents=parents)
    made.set_defaults(run=run, parser=made)
    return made


def _group(to: Commands, name: str, help_: str) -> Commands:
    return _command(to, name, None, help_).add_subparsers(metavar="ACTION", title="actions")


def _local() -> argparse.ArgumentParser:
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--data-dir", type=Path, metavar="DIR", help="where `up` keeps stores, keys and models")
    return own


def _json() -> argparse.ArgumentParser:
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--json", action="store_true", help="print JSON")
    return own


def _remote() -> argparse.ArgumentParser:
    """For commands that talk to a running gateway."""
    own = argparse.ArgumentParser(add_help=False, parents=[_local(), _json()])
    own.add_argument("--url", help="the gateway (or PARLEY_URL, or the data directory's credentials)")
    own.add_argument("--api-key", metavar="KEY", help="the key (better in PARLEY_API_KEY: others can see arguments)")
    return own


def _listening(made: Any, port: int | None, port_help: str) -> None:
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    made.add_argument("--port", type=_port, default=port, metavar="N", help=port_help)


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65_535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return number


def _several(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 256:
        raise argparse.ArgumentTypeError("a number from 1 to 256")
    return number


def _processes(commands: Commands) -> None:
    up = _command(commands, "up", "up:run", "start everything on this machine, supervised", _local())
    _listening(up, None, "default: 8080, or the next free one")
    up.add_argument("--demo", action="store_true", help="add a simulated Telegram, a bot in it and sample knowledge")
    serve = _command(commands, "serve", "processes:serve", "run the gateway", _local())
    _listening(serve, 8080, "default: %(default)s")
    serve.add_argument("--processes", type=_several, default=1, metavar="N", help="how many share the port")
    serve.add_argument("--reuse-port", action="store_true", help=argparse.SUPPRESS)
    _command(commands, "work", "processes:work", "run the worker: ingestion, webhook deliveries, sweeps", _local())
    _command(commands, "migrate", "processes:migrate", "bring the database up to date (DATABASE_ADMIN_URL)", _json())


def _operations(commands: Commands) -> None:
    _command(commands, "settings", "settings:run", "print every setting and its value in force", _json())
    _command(commands, "doctor", "doctor:run", "check settings and every dependency", _local(), _json())
    secrets = _group(commands, "secrets", "keys for sealing")
    _command(secrets, "generate", "settings:generate", "print a new value for PARLEY_SECRET_KEYS", _json())


def _talking(commands: Commands) -> None:
    ask = _command(commands, "ask", "ask:run", "ask one question", _remote())
    ask.add_argument("question", nargs="+")
    ask.add_argument("-k", type=_several, metavar="N", help="how many passages to draw on")
    chat = _command(commands, "chat", "ask:chat", "talk in the terminal; Ctrl-D ends", _remote())
    chat.set_defaults(endless=True)


def _knowledge(commands: Commands) -> None:
    ingest = _command(commands, "ingest", "ingest:run", "add files, folders or - (standard input)", _remote())
    ingest.add_argument("paths", nargs="+", metavar="PATH")
    ingest.add_argument("--collection", metavar="C", help="into this collection")
    ingest.add_argument("--watch", action="store_true", help="go on and follow changes until Ctrl-C")
    ingest.set_defaults(endless=True)


def _channels(commands: Commands) -> None:
    channels = _group(commands, "channels", "bots on platforms")
    connect = _command(channels, "connect", "channels:connect", "connect a bot", _remote())
    connect.add_argument("kind", help="telegram, slack, discord or web")
    connect.add_argument("--name", help="what to call it (default: the platform's name)")
    connect.add_argument(
        "--mode",
        choices=["webhook", "polling", "socket"],
        help="how messages come in (default: webhook, discord: socket)",
    )
    token = connect.add_mutually_exclusive_group()
    token.add_argument("--token", help="Telegram's token (others can see arguments; without it you are asked)")
    token.add_argument("--token-file", metavar="FILE", help="a file with the token, - for standard input")
    token.add_argument(
        "--credentials-file", metavar="FILE", help="a JSON object of what you would be asked for, - for standard input"
    )
    connect.add_argument(
        "--origin", action="append", help="web: a page's origin that may show the chat; may be repeated"
    )
    _command(channels, "list", "channels:show", "list connected bots", _remote())
    disconnect = _command(channels, "disconnect", "channels:disconnect", "disconnect a bot", _remote())
    disconnect.add_argument("account_id")


def _keys(commands: Commands) -> None:
    keys = _group(commands, "keys", "API keys")
    create = _command(keys, "create", "keys:create", "make a key; it is shown once", _remote())
    create.add_argument("name")
    create.add_argument("--scopes", default="read", help="read, write, admin; separated by commas (default: read)")
    owner = _command(keys, "owner", "owner:run", "make an owner's key straight in DATABASE_URL: a deployment's first")
    owner.add_argument("--json", action="store_true", help="print JSON")
    _command(keys, "list", "keys:show", "list keys, without their secrets", _remote())
    revoke = _command(keys, "revoke", "keys:revoke", "put a key out of force", _remote())
    revoke.add_argument("key_id")


def _webhooks(commands: Commands) -> None:
    webhooks = _group(commands, "webhooks", "endpoints that are told of events")
    add = _command(webhooks, "add", "webhooks:add", "register an endpoint; its secret is shown once", _remote())
    add.add_argument("endpoint", metavar="URL")
    add.add_argument("--events", help="types and patterns, separated by commas (default: *)")
    add.add_argument("--uid", help="your name for it: whatever has it becomes what is asked for")
    add.add_argument("--description", metavar="TEXT", help="what it is for")
    add.add_argument("--channel", action="append", help="only of this kind, account or conversation; may be repeated")
    add.add_argument(
        "--condition", metavar="JSON", help="""only where this holds of an event's data: '{"rating": -1}'"""
    )
    add.add_argument("--payload", choices=["full", "thin", "redacted"], help="how much of it (default: full)")
    add.add_argument("--header", action="append", metavar="'NAME: VALUE'", help="sent along; may be repeated")
    add.add_argument("--signing", choices=["v1", "v1a", "v1+v1a"], help="HMAC, Ed25519 or both (default: v1)")
    add.add_argument("--secret-file", metavar="FILE", help="a file with an own secret, - for standard input")
    add.add_argument("--timeout", type=float, metavar="SECONDS", help="for one try (default: 15)")
    add.add_argument("--rate", metavar="N/TIME", help="at most so many: 20/s, 100/m, 1000/10m")
    add.add_argument("--ordered", action="store_true", help="the events of a conversation one after the other")
    add.add_argument("--options", metavar="FILE", help="a JSON object of these and all others, - for standard input")
    _command(webhooks, "list", "webhooks:show", "list endpoints", _remote())
    _endpoint(webhooks)
    _recovery(webhooks)
    portal = _command(
        webhooks, "portal", "portal:link", "print a link to the page that looks after webhooks", _remote()
    )
    portal.add_argument("--expires-in", type=int, default=900, metavar="SECONDS", help="(default: %(default)s)")
    portal.add_argument("--read-only", action="store_true", help="nothing can be changed there")
    portal.add_argument("--name", help="what stands at its head (default: the workspace's name)")
    portal.add_argument("--accent", metavar="#RRGGBB", help="the colour of its buttons")
    portal.add_argument("--origin", action="append", help="whose pages may hold it in a frame; may be repeated")
    listen = _command(webhooks, "listen", "listen:run", "run a local receiver that verifies and prints", _remote())
    _listening(listen, 0, "default: a free one")
    listen.add_argument(
        "--secret", action="append", help="whsec_… or whpk_…, may be repeated; without it signatures are not checked"
    )
    listen.add_argument("--status", default="200", help="what each event's tries are answered, in turn: 500,500,200")
    listen.add_argument("--delay", default="0", metavar="SECONDS", help="… and how long that takes, in turn: 20,0")
    listen.add_argument("--header", action="append", metavar="'NAME: VALUE'", help="… and with what; may be repeated")
    listen.add_argument("--register", action="store_true", help="register as an endpoint for as long as it runs")
    listen.add_argument(
        "--poll", action="store_true", help="ask for events over REST: nothing has to reach this machine"
    )
    listen.add_argument("--forward", metavar="URL", help="with --poll: hand each event on to this address, signed")
    listen.add_argument("--events", default="*", help="with --register or --poll: types and patterns (default: *)")
    listen.set_defaults(endless=True)


def _endpoint(webhooks: Commands) -> None:
    for name, help_ in (
        ("enable", "put an endpoint in use"),
        ("disable", "put an endpoint out of use; what is owed waits"),
    ):
        _command(webhooks, name, f"webhooks:{name}", help_, _remote()).add_argument("webhook_id")
    rotate = _command(webhooks, "rotate", "webhooks:rotate", "sign with a new key; it is shown once", _remote())
    rotate.add_argument("webhook_id")
    rotate.add_argument("--overlap", default="1d", metavar="TIME", help="the old ones go on: 0, 2h, 7d (default: 1d)")
    rotate.add_argument("--kind", choices=["v1", "v1a"], help="HMAC or Ed25519 (default: what it signs)")
    rotate.add_argument("--secret-file", metavar="FILE", help="a file with an own secret, - for standard input")


def _recovery(webhooks: Commands) -> None:
    bulk, since = _bulk(), "from events since: 90m, 2h, 3d or a time"
    resend = _command(webhooks, "resend", "recovery:resend", "deliver again, by id or by filter", _remote(), bulk)
    resend.add_argument("delivery_ids", nargs="*", metavar="DELIVERY_ID")
    resend.add_argument("--webhook", metavar="WEBHOOK_ID", help="of this endpoint")
    resend.add_argument("--status", help="pending, delivered, exhausted or cancelled (default: exhausted)")
    resend.add_argument("--type", dest="event_type", metavar="TYPE", help="of this type, or a pattern like chat.*")
    resend.add_argument("--error-code", metavar="CODE", help="whose last try ended so: timeout, http_status, …")
    resend.add_argument("--since", metavar="TIME", help=since)
    resend.add_argument("--until", metavar="TIME", help="up to then")
    recover = _command(webhooks, "recover", "recovery:recover", "deliver again what failed", _remote(), bulk)
    recover.add_argument("webhook_id")
    recover.add_argument("--since", metavar="TIME", default="1d", help=f"{since}, at most 14 days back (default: 1d)")
    replay = _command(webhooks, "replay", "recovery:replay", "deliver what an endpoint missed", _remote(), bulk)
    replay.add_argument("webhook_id")
    replay.add_argument("--since", metavar="TIME", default="1d", help=f"{since} (default: 1d)")
    replay.add_argument("--until", metavar="TIME", help="up to then (default: now)")
    show = _command(webhooks, "operations", "recovery:show", "list what was sent again in bulk", _remote())
    show.add_argument("--limit", type=_several, default=20, metavar="N", help="(default: %(default)s)")
    cancel = _command(webhooks, "cancel", "recovery:cancel", "end one of them", _remote())
    cancel.add_argument("operation_id")


def _bulk() -> argparse.ArgumentParser:
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--dry-run", action="store_true", help="only count")
    own.add_argument("--no-wait", action="store_true", help="do not follow it to its end")
    return own


def _hooks(commands: Commands) -> None:
    hooks = _group(commands, "hooks", "addresses at which other systems say something to people")
    add = _command(hooks, "add", "hooks:add", "make a hook; its address and secret are shown once", _remote())
    add.add_argument("name")
    made_of = add.add_mutually_exclusive_group()
    made_of.add_argument("--example", metavar="NAME", help="alertmanager, github, json or stripe (default: json)")
    made_of.add_argument("--template", metavar="FILE", help="an own template: .json, .toml, or the text itself")
    add.add_argument("--user", dest="user_id", help="to this user, where they were last seen")
    add.add_argument("--channel", help="to the user on this channel")
    add.add_argument("--conversation", dest="conversation_id", metavar="ID", help="into this conversation")
    add.add_argument("--account", dest="account_id", metavar="ID", help="by this bot")
    add.add_argument("--chat", metavar="ID", help="into this group or channel, by the bot that --account names")
    add.add_argument("--thread", metavar="ID", help="in this thread or topic of it")
    add.add_argument("--verify", choices=["none", "github", "stripe", "standard_webhooks", "hmac"])
    add.add_argument("--secret-file", metavar="FILE", help="a file with the secret to verify by, - for standard input")
    _command(hooks, "list", "hooks:show", "list hooks, without their secrets", _remote())
    remove = _command(hooks, "remove", "hooks:remove", "remove a hook", _remote())
    remove.add_argument("hook_id")
    test = _command(hooks, "test", "hooks:test", "show what a call would become, without sending", _remote())
    test.add_argument("hook_id")
    test.add_argument("--payload", metavar="FILE", help="the call's JSON, - for standard input (default: a sample)")
    test.add_argument("--sample", metavar="NAME", help="one of the example's samples")
    test.add_argument("--header", action="append", metavar="NAME:VALUE", help="may be repeated")

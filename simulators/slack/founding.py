"""How a world begins: the app's secrets, the teams with their people and channels, and installing the app."""

import random

from simulators.slack.errors import Refused
from simulators.slack.ids import make_hex, make_id, make_token
from simulators.slack.state import Config, World
from simulators.slack.values import App, Channel, Installation, Team, User

PUBLIC = ("general", "support")
PRIVATE = "leads"


def found_world(config: Config) -> World:
    """An empty world with its app; everything secret comes from the seed unless given."""
    rng = random.Random(config.seed + 2)
    app = App(
        id=make_id(rng, "A"),
        name=config.app_name,
        client_id=config.client_id or f"{rng.randrange(10**11, 10**12)}.{rng.randrange(10**11, 10**12)}",
        client_secret=config.client_secret or make_hex(rng, 32),
        signing_secret=config.signing_secret or make_hex(rng, 32),
        verification_token=make_hex(rng, 24),
        app_token=config.app_token or make_token(rng, "xapp-1"),
    )
    world = World(config, app)
    world.url = config.public_url or ""
    return world


def point(world: World, config: Config) -> None:
    """Take over the URLs that the configuration gives."""
    app = world.app
    app.request_url = config.request_url or app.request_url
    app.interactivity_url = config.interactivity_url or app.interactivity_url
    app.commands_url = config.commands_url or app.commands_url


def settle(world: World) -> None:
    """Make the teams of the configuration, and install the app in the first one if it says so."""
    for name in world.config.teams:
        add_team(world, name)
    if world.config.installed and world.teams:
        install(world, next(iter(world.teams)), world.config.scopes, token=world.config.bot_token)


def add_team(world: World, name: str) -> Team:
    """A team with the people of the configuration, #general, #support and a private channel."""
    domain = "".join(letter for letter in name.lower() if letter.isalnum()) or "team"
    team = Team(make_id(world.rng, "T"), name, domain)
    world.teams[team.id] = team
    people = [add_user(world, team.id, person) for person in world.config.people]
    ids = {user.id for user in people}
    first = people[0].id if people else ""
    for channel in PUBLIC:
        world.add_channel(team.id, "channel", channel, set(ids), first)
    world.add_channel(team.id, "group", PRIVATE, {user.id for user in people[:2]}, first)
    world.changes += 1
    return team


def add_user(world: World, team: str, name: str, real_name: str = "") -> User:
    """A person in a team; they join its public channels. Raises Refused when the name is taken."""
    handle = name.strip().lower().replace(" ", ".")
    if not handle or any(user.team == team and user.name == handle for user in world.users.values()):
        raise Refused(f"no name, or one that is taken: {name!r}")
    user = User(make_id(world.rng, "U"), team, handle, real_name or name.strip().title())
    world.users[user.id] = user
    for channel in world.channels.values():
        if channel.team == team and channel.kind == "channel" and channel.name in PUBLIC:
            channel.members.add(user.id)
    world.changes += 1
    world.hub.publish("user", user=user.id)
    return user


def install(
    world: World, team: str, scopes: tuple[str, ...], token: str | None = None, installer: str = ""
) -> Installation:
    """The app in a team: its bot user joins the channels made at the start. Installed again, it keeps its token and
    gains scopes."""
    known = world.installed(team)
    if known:
        known.scopes = tuple(dict.fromkeys([*known.scopes, *scopes]))
        world.changes += 1
        return known
    bot_id = make_id(world.rng, "B")
    bot = User(make_id(world.rng, "U"), team, world.config.bot_name, world.config.app_name, bot_id)
    world.users[bot.id] = bot
    made = Installation(team, token or make_token(world.rng, "xoxb"), bot.id, bot_id, scopes, installer)
    world.installations[made.token] = made
    for channel in world.channels.values():
        if channel.team == team and channel.name in (*PUBLIC, PRIVATE):
            channel.members.add(bot.id)
    world.changes += 1
    world.hub.publish("installed", team=team)
    return made


def uninstall(world: World, team: str, error: str = "account_inactive") -> None:
    """The app leaves a team: calls with its token get `error` from now on; the app is told (app_uninstalled,
    tokens_revoked)."""
    found = world.installed(team)
    if found is None:
        raise Refused("the app is not installed in this team")
    world.emit(team, {"type": "app_uninstalled", "event_ts": world.take_ts()})
    world.emit(team, {"type": "tokens_revoked", "tokens": {"oauth": [], "bot": [found.bot_user]}})
    del world.installations[found.token]
    world.revoked[found.token] = error
    for channel in world.channels.values():
        channel.members.discard(found.bot_user)
    world.changes += 1
    world.hub.publish("installed", team=team)


def add_channel(world: World, team: str, name: str, kind: str, people: list[User], with_bot: bool) -> Channel:
    """A channel made by the first of `people`. Raises Refused."""
    bare = name.strip().lower().removeprefix("#").replace(" ", "-")
    if kind not in ("channel", "group") or not bare or not people:
        raise Refused("a channel needs a name, somebody in it, and the kind channel or group")
    if any(one.team == team and one.name == bare for one in world.channels.values()):
        raise Refused(f"there is a channel {bare!r} already")
    members = {user.id for user in people}
    channel = world.add_channel(team, kind, bare, members, people[0].id)
    if with_bot and (found := world.installed(team)):
        channel.members.add(found.bot_user)
    world.hub.publish("channel", team=team, channel=channel.id)
    return channel

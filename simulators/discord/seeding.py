"""The world at its start: three people, a guild with its channels, and the bot. All ids and secrets follow the seed."""

import base64
import hashlib

from simulators.discord.people import Refused, add_person
from simulators.discord.snowflakes import fixed
from simulators.discord.state import FORUM, TEXT, Bot, Channel, Guild, World

PEOPLE = ("ada", "ben", "chloe")
GUILD = "Fernhill"
CHANNELS = (
    ("general", TEXT, False, "Anything and everything"),
    ("support", TEXT, False, "Questions to the bot"),
    ("staff", TEXT, True, "Ada and Ben only"),
    ("ideas", FORUM, False, "One post for each idea"),
)
INSIDERS = PEOPLE[:2]
FIRST_BOT, FIRST_GUILD, FIRST_CHANNEL = 1, 50, 60


def found(world: World) -> None:
    """Make people and guild in an empty world."""
    people = [add_person(world, name) for name in PEOPLE]
    guild = Guild(fixed(world.config.seed, FIRST_GUILD), GUILD, people[0].id, {person.id for person in people})
    world.guilds[guild.id] = guild
    for position, (name, kind, private, topic) in enumerate(CHANNELS):
        number = fixed(world.config.seed, FIRST_CHANNEL + position)
        channel = Channel(number, kind, name, guild.id, topic=topic, private=private, position=position)
        if private:
            channel.members = {person.id for person in people if person.name in INSIDERS} | set(world.bots)
        world.channels[number] = channel


def add_bot(world: World, token: str | None = None, number: int | None = None, name: str = "", key: str = "") -> Bot:
    """Register a bot, which joins every guild and its private channels. Raises Refused when it exists."""
    made = number or _id_in(token) or fixed(world.config.seed, FIRST_BOT + len(world.bots))
    token = token or _token(world, made)
    if made in world.bots or token in world.by_token:
        raise Refused("there is a bot with this token or id already")
    key = key or hashlib.sha256(f"{world.config.seed}:{made}:key".encode()).hexdigest()
    bot = Bot(made, token, name or f"bot {len(world.bots) + 1}", key)
    world.bots[bot.id] = bot
    world.by_token[token] = bot
    for guild in world.guilds.values():
        guild.members.add(bot.id)
    for channel in world.channels.values():
        if channel.private:
            channel.members.add(bot.id)
    world.changes += 1
    return bot


def reset(world: World) -> None:
    """Begin anew: people, channels, messages, faults and counters; bots, their tokens and sessions stay."""
    for store in (world.people, world.guilds, world.channels, world.dialogues, world.files, world.interactions):
        store.clear()
    for other in (world.tokens, world.nonces, world.calls, world.held, world.counters.windows):
        other.clear()
    world.truth.clear()
    world.faults.clear()
    world.missed = 0
    found(world)
    for guild in world.guilds.values():
        guild.members |= set(world.bots)
    for bot in world.bots.values():
        bot.commands.clear()
    world.hub.publish("reset")


def new_token(world: World, bot: Bot) -> None:
    """Reset a bot's token; the old one is worth nothing."""
    del world.by_token[bot.token]
    bot.token = _token(world, bot.id)
    world.by_token[bot.token] = bot
    world.changes += 1


def _token(world: World, number: int) -> str:
    """Three parts, the first being the id, as in Discord's own."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    head = base64.urlsafe_b64encode(str(number).encode()).decode().rstrip("=")
    return f"{head}.{''.join(world.rng.choices(letters, k=6))}.{''.join(world.rng.choices(letters, k=38))}"


def _id_in(token: str | None) -> int | None:
    head = (token or "").partition(".")[0]
    try:
        text = base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)).decode()
    except ValueError:
        return None
    return int(text) if text.isdecimal() and len(text) > 15 else None

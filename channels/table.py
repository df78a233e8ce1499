"""Every channel, one row each. docs/channels/adding.md tells how to add one."""

from channels import discord, rest, slack, telegram, web
from kernel.types import Channel

CHANNELS: dict[str, Channel] = {
    channel.kind: channel
    for channel in (
        telegram.CHANNEL,
        slack.CHANNEL,
        discord.CHANNEL,
        rest.CHANNEL,
        web.CHANNEL,
    )
}

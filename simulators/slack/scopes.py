"""Which scope a method needs, and its rate limit tier (0: limited by channel). Source: the reference page of each."""

BOT_SCOPES = (
    "app_mentions:read",
    "assistant:write",
    "channels:history",
    "channels:read",
    "chat:write",
    "chat:write.customize",
    "commands",
    "files:read",
    "files:write",
    "groups:history",
    "groups:read",
    "im:history",
    "im:read",
    "im:write",
    "mpim:history",
    "mpim:read",
    "mpim:write",
    "reactions:read",
    "reactions:write",
    "team:read",
    "users:read",
)

# The first word of a scope's name depends on the kind of channel for those that end with a colon.
NEEDS: dict[str, tuple[str, int]] = {
    "auth.test": ("", 5),
    "chat.postMessage": ("chat:write", 0),
    "chat.postEphemeral": ("chat:write", 4),
    "chat.update": ("chat:write", 3),
    "chat.delete": ("chat:write", 3),
    "chat.startStream": ("chat:write", 2),
    "chat.appendStream": ("chat:write", 4),
    "chat.stopStream": ("chat:write", 2),
    "conversations.open": ("im:write", 3),
    "conversations.info": (":read", 3),
    "conversations.list": (":read", 2),
    "conversations.history": (":history", 3),
    "conversations.replies": (":history", 3),
    "conversations.members": (":read", 4),
    "users.conversations": (":read", 3),
    "users.info": ("users:read", 4),
    "users.list": ("users:read", 2),
    "reactions.add": ("reactions:write", 3),
    "reactions.remove": ("reactions:write", 2),
    "reactions.get": ("reactions:read", 3),
    "files.getUploadURLExternal": ("files:write", 4),
    "files.completeUploadExternal": ("files:write", 4),
    "files.info": ("files:read", 4),
    "views.open": ("", 4),
    "views.push": ("", 4),
    "views.update": ("", 4),
    "views.publish": ("", 4),
    "assistant.threads.setStatus": ("assistant:write", 4),
    "assistant.threads.setTitle": ("assistant:write", 4),
    "assistant.threads.setSuggestedPrompts": ("assistant:write", 4),
    "bots.info": ("users:read", 3),
    "team.info": ("team:read", 3),
}
PREFIX = {"channel": "channels", "group": "groups", "im": "im", "mpim": "mpim"}
ANY_KIND = ("channels", "groups", "im", "mpim")


def missing(method: str, granted: tuple[str, ...]) -> str:
    """The scope that a method needs and that was not granted; "" when all is well."""
    needed, _ = NEEDS.get(method, ("", 0))
    if not needed or needed in granted:
        return ""
    if needed.startswith(":"):
        wanted = [f"{prefix}{needed}" for prefix in ANY_KIND]
        return "" if any(scope in granted for scope in wanted) else ",".join(wanted)
    return needed


def sees_kind(kind: str, granted: tuple[str, ...]) -> bool:
    """Whether messages of this kind of channel reach the app at all (events need the same scope as history)."""
    return f"{PREFIX[kind]}:history" in granted

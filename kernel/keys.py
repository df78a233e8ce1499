"""Every Redis key. Deleting any of them at any time is safe: Redis holds only what can be rebuilt."""

QUEUE = "arq:parley"


def turn_steps(turn_id: str) -> str:
    """Hash of step name to recorded result of one turn."""
    return f"turn:{turn_id}"


def limit(scope: str, subject: str) -> str:
    return f"rl:{scope}:{subject}"


def pace(scope: str, subject: str) -> str:
    """When the next message of a bot, in a chat or of a workspace is due; or until when a platform wants a pause."""
    return f"pace:{scope}:{subject}"

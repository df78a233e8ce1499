"""Every Redis key. Deleting any of them at any time is safe: Redis holds only what can be rebuilt."""

import hashlib

QUEUE = "arq:parley"
STREAMS = "stream:"


def turn_steps(turn_id: str) -> str:
    """Hash of step name to recorded result of one turn."""
    return f"turn:{turn_id}"


def session_state(session_id: str) -> str:
    """The live pipeline state of a session."""
    return f"state:{session_id}"


def conversation_stream(conversation_id: str) -> str:
    """Channel on which replies of a conversation are announced."""
    return f"{STREAMS}{conversation_id}"


def embedding(model: str, text: str) -> str:
    return f"embed:{model}:{hashlib.blake2b(text.encode('utf-8', 'replace'), digest_size=16).hexdigest()}"


def limit(scope: str, subject: str) -> str:
    return f"rl:{scope}:{subject}"


def pause(account_id: str) -> str:
    """Set while a bot may not send at all."""
    return f"rl:pause:{account_id}"

"""The slash commands: one table, from which they are registered and read.

Shapes: https://docs.discord.com/developers/interactions/application-commands#application-command-object
"""

from __future__ import annotations

from dataclasses import dataclass

from kernel.types import Json

_TEXT_OPTION = 3
_LONGEST_TEXT = 2000


@dataclass(frozen=True, slots=True)
class Option:
    """What follows a command: one text."""

    name: str
    description: str
    required: bool


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """`question`: its text is read as if it had been typed as a message. `discreet`: in a server only the one who
    asked sees the answer."""

    name: str
    description: str
    option: Option | None = None
    question: bool = False
    discreet: bool = False

    def to_json(self) -> Json:
        """As `PUT /applications/{id}/commands` takes it."""
        command: Json = {"type": 1, "name": self.name, "description": self.description}
        if self.option is not None:
            option = {"type": _TEXT_OPTION, "name": self.option.name, "description": self.option.description}
            command["options"] = [option | {"required": self.option.required, "max_length": _LONGEST_TEXT}]
        return command


COMMANDS: dict[str, SlashCommand] = {
    command.name: command
    for command in (
        SlashCommand("ask", "Ask a question", Option("question", "What you would like to know", True), question=True),
        SlashCommand("help", "What I can do", discreet=True),
        SlashCommand("new", "Start a new conversation"),
        SlashCommand(
            "link", "Be known as the same person elsewhere", Option("code", "The code you were given", False),
            discreet=True,
        ),
        SlashCommand("unlink", "Be a person of your own here again", discreet=True),
    )
}  # fmt: skip

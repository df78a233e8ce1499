"""The shapes of a bot's settings that `channels.policy` reads."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from gateway.web import Shape

ExternalId = Annotated[str, Field(min_length=1, max_length=128)]


class GroupSettings(Shape):
    """When a bot answers in groups and channels. What is addressed to it (a mention, a reply, a command, a button) it
    always answers, in the chats that it serves."""

    model_config = ConfigDict(serialize_by_alias=True)

    answer: Literal["always", "mention", "threads", "prefix"] = Field(
        "threads", description="Besides: everything; nothing; what is said in threads it takes part in; after a prefix"
    )
    prefix: str | None = Field(
        None, min_length=1, max_length=32, pattern=r"^\S(.*\S)?$", description="For answer prefix", examples=["!bot"]
    )
    chats: list[ExternalId] | None = Field(
        None, max_length=1000, description="The only chats or channels that are served, by the platform's id"
    )
    except_: list[ExternalId] | None = Field(
        None, alias="except", max_length=1000, description="Chats or channels that are not served"
    )

    @model_validator(mode="after")
    def _prefix_belongs(self) -> Self:
        if (self.answer == "prefix") != (self.prefix is not None):
            raise ValueError("answer prefix needs a prefix, and nothing else has a use for one")
        return self


class AccessSettings(Shape):
    """Who may use a bot: everyone, those listed, or those whom an operator has paired."""

    who: Literal["everyone", "listed", "paired"] = "everyone"
    users: list[ExternalId] | None = Field(
        None, max_length=10_000, description="Let in whatever `who` says, by the platform's id"
    )

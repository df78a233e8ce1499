"""The one table of routes."""

from __future__ import annotations

from gateway.routes import (
    ask,
    attachments,
    channels,
    collections,
    conversations,
    feedback,
    health,
    ingest,
    keys,
    knowledge,
    links,
    notifications,
    operations,
    pages,
    pairings,
    people,
    platforms,
    slack,
    talk,
    web,
    webhooks,
    workspaces,
)
from gateway.web import Route

ROUTES: list[Route] = [
    *ask.ROUTES,
    *talk.ROUTES,
    *notifications.ROUTES,
    *ingest.ROUTES,
    *knowledge.ROUTES,
    *collections.ROUTES,
    *conversations.ROUTES,
    *attachments.ROUTES,
    *feedback.ROUTES,
    *channels.ROUTES,
    *people.ROUTES,
    *links.ROUTES,
    *pairings.ROUTES,
    *webhooks.ROUTES,
    *operations.ROUTES,
    *keys.ROUTES,
    *workspaces.ROUTES,
    *web.ROUTES,
    *platforms.ROUTES,
    *slack.ROUTES,
    *health.ROUTES,
    *pages.ROUTES,
]

"""What a session of the portal may do: these routes, as far as its capabilities and its key's scopes go.

A list of its own and not the tag of the routes, so that a new route is closed to the portal until somebody opens it.
Events themselves are none of its business: of each a delivery holds what its endpoint may see.
"""

from __future__ import annotations

_HOOKS, _ONE = "/api/v1/webhooks", "/api/v1/webhooks/{webhook_id}"
_DELIVERIES = "/api/v1/deliveries"

ROUTES = frozenset(
    (
        f"GET {_HOOKS}",
        f"POST {_HOOKS}",
        f"GET {_ONE}",
        f"PATCH {_ONE}",
        f"DELETE {_ONE}",
        f"POST {_ONE}/enable",
        f"POST {_ONE}/disable",
        f"POST {_ONE}/test",
        f"GET {_ONE}/stats",
        f"GET {_ONE}/secrets",
        f"POST {_ONE}/rotate-secret",
        f"DELETE {_ONE}/secrets/{{secret_id}}",
        f"POST {_ONE}/recover",
        f"POST {_ONE}/replay-missing",
        "GET /api/v1/webhook-operations",
        "GET /api/v1/webhook-operations/{operation_id}",
        "DELETE /api/v1/webhook-operations/{operation_id}",
        f"GET {_DELIVERIES}",
        f"GET {_DELIVERIES}/{{delivery_id}}",
        f"POST {_DELIVERIES}/{{delivery_id}}/resend",
        "GET /api/v1/event-types",
        "GET /api/v1/event-types/{event_type}",
    )
)

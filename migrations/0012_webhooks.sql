-- What an endpoint may ask for besides a URL and types of events, how it fares, and bulk work on deliveries.

ALTER TABLE webhooks
    ADD COLUMN uid text CHECK (uid ~ '^[A-Za-z0-9._-]{1,128}$'),
    ADD COLUMN metadata jsonb NOT NULL DEFAULT '{}',
    -- Custom headers, credentials and client certificates as one sealed JSON object; `shown` is what of it may be shown.
    ADD COLUMN sealed_options bytea,
    ADD COLUMN shown jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN timeout_seconds real NOT NULL DEFAULT 15 CHECK (timeout_seconds BETWEEN 1 AND 30),
    -- Seconds between tries; NULL is the usual schedule, an empty one means exactly one try. By pattern of event type, the
    -- most specific first, in `schedules`.
    ADD COLUMN schedule integer[],
    ADD COLUMN schedules jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN rate_count integer CHECK (rate_count > 0),
    ADD COLUMN rate_seconds integer NOT NULL DEFAULT 1 CHECK (rate_seconds BETWEEN 1 AND 3600),
    ADD COLUMN max_in_flight integer CHECK (max_in_flight > 0),
    ADD COLUMN payload_mode text NOT NULL DEFAULT 'full' CHECK (payload_mode IN ('full', 'thin', 'redacted')),
    ADD COLUMN redact text[] NOT NULL DEFAULT '{}',
    -- An event's channels are the platform, the account and the conversation that it is about. NULL: all.
    ADD COLUMN channels text[] CHECK (cardinality(channels) > 0),
    -- As it was given, and as it is evaluated against an event's `data`.
    ADD COLUMN condition jsonb,
    ADD COLUMN condition_path jsonpath,
    ADD COLUMN signing text NOT NULL DEFAULT 'v1' CHECK (signing IN ('v1', 'v1a', 'v1+v1a')),
    ADD COLUMN ordering text NOT NULL DEFAULT 'none' CHECK (ordering IN ('none', 'conversation')),
    ADD COLUMN on_stuck text NOT NULL DEFAULT 'block' CHECK (on_stuck IN ('block', 'skip')),
    ADD COLUMN enabled_at timestamptz NOT NULL DEFAULT now(),
    ADD UNIQUE (workspace_id, uid);

-- `whsec_` keys sign v1, `whsk_` keys sign v1a.
ALTER TABLE webhook_secrets
    ADD COLUMN kind text NOT NULL DEFAULT 'v1' CHECK (kind IN ('v1', 'v1a'));

ALTER TABLE webhook_deliveries
    -- The bytes to send where they are not the event's own: thin and redacted payloads, fixed when they were owed.
    ADD COLUMN body bytea,
    ADD COLUMN ordering_key text,
    ADD COLUMN seq bigint;

ALTER TABLE webhook_attempts
    ADD COLUMN webhook_id text NOT NULL DEFAULT '',
    ADD COLUMN url text NOT NULL DEFAULT '',
    ADD COLUMN request_headers jsonb NOT NULL DEFAULT '{}';

-- How an endpoint fares. Apart from `webhooks`, because it changes with every failure. No row: nothing ever failed.
CREATE TABLE webhook_health (
    workspace_id text NOT NULL,
    webhook_id text NOT NULL,
    failing_since timestamptz,
    streak integer NOT NULL DEFAULT 0,
    -- While a breaker is open nothing is claimed but one probe at a time, after `open_until`; `opened` doubles its pause.
    open_until timestamptz,
    opened integer NOT NULL DEFAULT 0,
    -- Tells how far it has been warned of: 0, 1 (24 h) or 2 (72 h).
    warned smallint NOT NULL DEFAULT 0,
    -- Not before this, because the receiver asked for it (429).
    slow_until timestamptz,
    PRIMARY KEY (workspace_id, webhook_id),
    FOREIGN KEY (workspace_id, webhook_id) REFERENCES webhooks ON DELETE CASCADE
);
CALL protect('webhook_health', 'SELECT, DELETE');

-- Tries of one endpoint in one minute. `buckets` counts durations in milliseconds up to 1, 2, 5, 10, 20, 50, 100, 200, 500,
-- 1000, 2000, 5000, 10000, 30000 and above.
CREATE TABLE webhook_minutes (
    workspace_id text NOT NULL,
    webhook_id text NOT NULL,
    minute timestamptz NOT NULL,
    succeeded integer NOT NULL DEFAULT 0,
    failed integer NOT NULL DEFAULT 0,
    buckets integer[] NOT NULL,
    PRIMARY KEY (workspace_id, webhook_id, minute)
);
CALL protect('webhook_minutes', 'SELECT');

-- Bulk work: resend by filter, recover, replay missing. Resumed from `cursor` by whoever holds the lease.
CREATE TABLE webhook_operations (
    workspace_id text NOT NULL REFERENCES workspaces,
    operation_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('resend', 'recover', 'replay_missing')),
    webhook_id text NOT NULL DEFAULT '',
    filter jsonb NOT NULL DEFAULT '{}',
    status text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    total bigint NOT NULL DEFAULT 0,
    done bigint NOT NULL DEFAULT 0,
    cursor text NOT NULL DEFAULT '',
    failure text NOT NULL DEFAULT '',
    lease_token text,
    lease_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,
    PRIMARY KEY (workspace_id, operation_id)
);
CREATE INDEX webhook_operations_due ON webhook_operations (lease_until) WHERE status IN ('queued', 'running');
CALL protect('webhook_operations');

-- Inbound hooks: an outside system posts to /hooks/{token} and it becomes a message to a user or a place. Of the token its
-- hash is kept.
CREATE TABLE hooks (
    workspace_id text NOT NULL REFERENCES workspaces,
    hook_id text NOT NULL,
    name text NOT NULL,
    token_hash bytea NOT NULL UNIQUE,
    template jsonb NOT NULL,
    target jsonb NOT NULL,
    verify jsonb NOT NULL DEFAULT '{}',
    sealed_secret bytea,
    status text NOT NULL DEFAULT 'enabled' CHECK (status IN ('enabled', 'disabled')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, hook_id)
);
CALL protect('hooks');

-- One row for each call that was taken: the dedupe by (hook, external id), and what came of it.
CREATE TABLE hook_calls (
    workspace_id text NOT NULL,
    hook_id text NOT NULL,
    external_id text NOT NULL,
    outcome text NOT NULL DEFAULT '',
    message_id text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, hook_id, external_id),
    FOREIGN KEY (workspace_id, hook_id) REFERENCES hooks ON DELETE CASCADE
);
CALL protect('hook_calls');

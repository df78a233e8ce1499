-- The tables as the migrations leave them, to be read and not run; a test keeps this equal to their sum.
-- Functions stand in the migrations, with their comments.

CREATE TYPE chunk_scores AS (
	chunk_id text,
	document_id text,
	dense real,
	bm25 real
);

CREATE TYPE claimable AS (
	workspace_id text,
	delivery_id text,
	busy boolean,
	skips boolean
);

CREATE TYPE operation_step AS (
	looked integer,
	made integer,
	left_out integer,
	place text
);

CREATE TYPE recorded_try AS (
	workspace_id text,
	delivery_id text,
	event_id text,
	event_type text,
	webhook_id text,
	attempt integer,
	status text,
	due timestamp with time zone,
	status_code integer,
	error_code text,
	disable text
);

CREATE TABLE channel_accounts (
    workspace_id text NOT NULL,
    account_id text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    mode text NOT NULL,
    status text DEFAULT 'connected'::text NOT NULL,
    failure text DEFAULT ''::text NOT NULL,
    sealed_credentials bytea,
    settings jsonb DEFAULT '{}'::jsonb NOT NULL,
    profile jsonb DEFAULT '{}'::jsonb NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    poll_offset bigint DEFAULT 0 NOT NULL,
    poll_token text DEFAULT ''::text NOT NULL,
    poll_lease_until timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    last_inbound_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    listening_until timestamp with time zone,
    probed_at timestamp with time zone,
    health jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT channel_accounts_mode_check CHECK ((mode = ANY (ARRAY['webhook'::text, 'polling'::text, 'socket'::text, 'api'::text]))),
    CONSTRAINT channel_accounts_status_check CHECK ((status = ANY (ARRAY['connected'::text, 'failed'::text, 'disconnected'::text])))
);

CREATE TABLE inbound_updates (
    workspace_id text NOT NULL,
    update_id text NOT NULL,
    account_id text NOT NULL,
    external_id text NOT NULL,
    seq bigint NOT NULL,
    conversation_key text DEFAULT ''::text NOT NULL,
    kind text DEFAULT ''::text NOT NULL,
    message jsonb,
    payload bytea NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    turn_id text,
    cause text DEFAULT ''::text NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT inbound_updates_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'taken'::text, 'answered'::text, 'ignored'::text, 'dead'::text])))
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_analyze_scale_factor='0.02');

CREATE TABLE ingest_jobs (
    workspace_id text NOT NULL,
    job_id text NOT NULL,
    collection_id text NOT NULL,
    status text DEFAULT 'queued'::text NOT NULL,
    total integer NOT NULL,
    done integer DEFAULT 0 NOT NULL,
    chunks integer DEFAULT 0 NOT NULL,
    errors jsonb DEFAULT '[]'::jsonb NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    token text DEFAULT ''::text NOT NULL,
    lease_until timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT ingest_jobs_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'running'::text, 'done'::text, 'failed'::text, 'cancelled'::text])))
);

CREATE TABLE events (
    workspace_id text NOT NULL,
    event_id text NOT NULL,
    type text NOT NULL,
    body bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expunged_at timestamp with time zone
)
PARTITION BY RANGE (event_id);

CREATE TABLE webhook_deliveries (
    workspace_id text NOT NULL,
    delivery_id text NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    webhook_id text NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
    lease_token text,
    lease_until timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    settled_at timestamp with time zone,
    body bytea,
    ordering_key text,
    seq bigint,
    probe boolean DEFAULT false NOT NULL,
    stage smallint GENERATED ALWAYS AS (
CASE
    WHEN probe THEN 3
    WHEN (attempts = 0) THEN 0
    WHEN (attempts < 4) THEN 1
    ELSE 2
END) STORED NOT NULL,
    parked boolean DEFAULT false NOT NULL,
    "position" bigint NOT NULL,
    CONSTRAINT webhook_deliveries_check CHECK (((status = 'leased'::text) = (lease_token IS NOT NULL))),
    CONSTRAINT webhook_deliveries_check1 CHECK (((lease_token IS NULL) = (lease_until IS NULL))),
    CONSTRAINT webhook_deliveries_check2 CHECK (((status = ANY (ARRAY['pending'::text, 'leased'::text])) = (settled_at IS NULL))),
    CONSTRAINT webhook_deliveries_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'leased'::text, 'delivered'::text, 'exhausted'::text, 'cancelled'::text])))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='1000');

CREATE TABLE webhooks (
    workspace_id text NOT NULL,
    webhook_id text NOT NULL,
    url text NOT NULL,
    events text[] NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    status text DEFAULT 'enabled'::text NOT NULL,
    disabled_reason text DEFAULT ''::text NOT NULL,
    failing_since timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    uid text,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    sealed_options bytea,
    shown jsonb DEFAULT '{}'::jsonb NOT NULL,
    timeout_seconds real DEFAULT 15 NOT NULL,
    schedule integer[],
    schedules jsonb DEFAULT '{}'::jsonb NOT NULL,
    rate_count integer,
    rate_seconds integer DEFAULT 1 NOT NULL,
    max_in_flight integer,
    payload_mode text DEFAULT 'full'::text NOT NULL,
    redact text[] DEFAULT '{}'::text[] NOT NULL,
    channels text[],
    condition jsonb,
    condition_path jsonpath,
    signing text DEFAULT 'v1'::text NOT NULL,
    ordering text DEFAULT 'none'::text NOT NULL,
    on_stuck text DEFAULT 'block'::text NOT NULL,
    enabled_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT webhooks_channels_check CHECK ((cardinality(channels) > 0)),
    CONSTRAINT webhooks_events_check CHECK ((cardinality(events) > 0)),
    CONSTRAINT webhooks_max_in_flight_check CHECK ((max_in_flight > 0)),
    CONSTRAINT webhooks_on_stuck_check CHECK ((on_stuck = ANY (ARRAY['block'::text, 'skip'::text]))),
    CONSTRAINT webhooks_ordering_check CHECK ((ordering = ANY (ARRAY['none'::text, 'conversation'::text]))),
    CONSTRAINT webhooks_payload_mode_check CHECK ((payload_mode = ANY (ARRAY['full'::text, 'thin'::text, 'redacted'::text]))),
    CONSTRAINT webhooks_rate_count_check CHECK ((rate_count > 0)),
    CONSTRAINT webhooks_rate_seconds_check CHECK (((rate_seconds >= 1) AND (rate_seconds <= 3600))),
    CONSTRAINT webhooks_signing_check CHECK ((signing = ANY (ARRAY['v1'::text, 'v1a'::text, 'v1+v1a'::text]))),
    CONSTRAINT webhooks_status_check CHECK ((status = ANY (ARRAY['enabled'::text, 'disabled'::text]))),
    CONSTRAINT webhooks_timeout_seconds_check CHECK (((timeout_seconds >= (1)::double precision) AND (timeout_seconds <= (30)::double precision))),
    CONSTRAINT webhooks_uid_check CHECK ((uid ~ '^[A-Za-z0-9._-]{1,128}$'::text))
);

CREATE TABLE outbound_messages (
    workspace_id text NOT NULL,
    outbound_id text NOT NULL,
    account_id text NOT NULL,
    conversation_id text NOT NULL,
    turn_id text DEFAULT ''::text NOT NULL,
    message_id text NOT NULL,
    seq bigint NOT NULL,
    unit jsonb NOT NULL,
    plain text NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    use_plain boolean DEFAULT false NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    ambiguous integer DEFAULT 0 NOT NULL,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
    token text DEFAULT ''::text NOT NULL,
    lease_until timestamp with time zone,
    receipt jsonb,
    cause text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    sent_at timestamp with time zone,
    target jsonb,
    CONSTRAINT outbound_messages_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'sending'::text, 'sent'::text, 'failed'::text, 'unknown'::text])))
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_analyze_scale_factor='0.02');

CREATE TABLE conversations (
    workspace_id text NOT NULL,
    conversation_id text NOT NULL,
    account_id text NOT NULL,
    conversation_key text NOT NULL,
    user_id text,
    address jsonb NOT NULL,
    private boolean DEFAULT true NOT NULL,
    blocked_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_message_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE turns (
    workspace_id text NOT NULL,
    turn_id text NOT NULL,
    conversation_id text NOT NULL,
    session_id text NOT NULL,
    user_id text NOT NULL,
    status text DEFAULT 'running'::text NOT NULL,
    attempt integer DEFAULT 1 NOT NULL,
    token text NOT NULL,
    lease_until timestamp with time zone NOT NULL,
    failure text DEFAULT ''::text NOT NULL,
    metrics jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    preview jsonb,
    CONSTRAINT turns_status_check CHECK ((status = ANY (ARRAY['running'::text, 'done'::text, 'dead'::text])))
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_analyze_scale_factor='0.02');

CREATE TABLE api_keys (
    workspace_id text NOT NULL,
    key_id text NOT NULL,
    public_id text NOT NULL,
    secret_hash bytea NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone
);

CREATE TABLE hooks (
    workspace_id text NOT NULL,
    hook_id text NOT NULL,
    name text NOT NULL,
    token_hash bytea NOT NULL,
    template jsonb NOT NULL,
    target jsonb NOT NULL,
    verify jsonb DEFAULT '{}'::jsonb NOT NULL,
    sealed_secret bytea,
    status text DEFAULT 'enabled'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    example text DEFAULT ''::text NOT NULL,
    CONSTRAINT hooks_status_check CHECK ((status = ANY (ARRAY['enabled'::text, 'disabled'::text])))
);

CREATE TABLE hook_calls (
    workspace_id text NOT NULL,
    hook_id text NOT NULL,
    external_id text NOT NULL,
    outcome text DEFAULT ''::text NOT NULL,
    message_id text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    call_id text DEFAULT ''::text NOT NULL,
    conversation_id text DEFAULT ''::text NOT NULL,
    CONSTRAINT hook_calls_outcome_check CHECK ((outcome = ANY (ARRAY[''::text, 'accepted'::text, 'ignored'::text])))
);

CREATE TABLE idempotency_keys (
    workspace_id text NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    origin text NOT NULL,
    token text NOT NULL,
    lease_until timestamp with time zone NOT NULL,
    status integer,
    sealed bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE pairings (
    workspace_id text NOT NULL,
    pairing_id text NOT NULL,
    account_id text NOT NULL,
    external_id text NOT NULL,
    conversation_id text NOT NULL,
    name text DEFAULT ''::text NOT NULL,
    username text DEFAULT ''::text NOT NULL,
    code text NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    paired_at timestamp with time zone
);

CREATE TABLE collections (
    workspace_id text NOT NULL,
    collection_id text NOT NULL,
    name text NOT NULL,
    model text NOT NULL,
    dimension integer NOT NULL,
    chunk_count bigint DEFAULT 0 NOT NULL,
    term_count bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    visibility text DEFAULT 'public'::text NOT NULL,
    CONSTRAINT collections_name_check CHECK ((name ~ '^[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}$'::text)),
    CONSTRAINT collections_visibility_check CHECK ((visibility = ANY (ARRAY['public'::text, 'private'::text])))
);

CREATE TABLE lexicon (
    workspace_id text NOT NULL,
    lexeme text NOT NULL,
    collection_id text NOT NULL,
    df integer NOT NULL
)
WITH (fillfactor='70');

CREATE TABLE attachments (
    workspace_id text NOT NULL,
    attachment_id text NOT NULL,
    conversation_id text NOT NULL,
    session_id text DEFAULT ''::text NOT NULL,
    turn_id text DEFAULT ''::text NOT NULL,
    name text NOT NULL,
    mime text NOT NULL,
    size integer NOT NULL,
    digest bytea DEFAULT '\x'::bytea NOT NULL,
    content bytea,
    text text DEFAULT ''::text NOT NULL,
    status text NOT NULL,
    cause text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    direction text DEFAULT 'in'::text NOT NULL,
    message_id text,
    caption text DEFAULT ''::text NOT NULL,
    CONSTRAINT attachments_direction_check CHECK ((direction = ANY (ARRAY['in'::text, 'out'::text]))),
    CONSTRAINT attachments_status_check CHECK ((status = ANY (ARRAY['read'::text, 'kept'::text, 'refused'::text])))
);
ALTER TABLE ONLY attachments ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE TABLE identities (
    workspace_id text NOT NULL,
    identity_id text NOT NULL,
    account_id text NOT NULL,
    external_id text NOT NULL,
    user_id text NOT NULL,
    username text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE webhook_health (
    workspace_id text NOT NULL,
    webhook_id text NOT NULL,
    failing_since timestamp with time zone,
    streak integer DEFAULT 0 NOT NULL,
    open_until timestamp with time zone,
    opened integer DEFAULT 0 NOT NULL,
    warned smallint DEFAULT 0 NOT NULL,
    slow_until timestamp with time zone,
    last_failed_at timestamp with time zone,
    closed_at timestamp with time zone,
    told boolean DEFAULT false NOT NULL,
    told_at timestamp with time zone,
    probe_at timestamp with time zone
);

CREATE TABLE organizations (
    organization_id text NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    plan text DEFAULT 'free'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE workspaces (
    workspace_id text NOT NULL,
    organization_id text NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    settings jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT workspaces_slug_check CHECK ((slug ~ '^[a-z0-9][a-z0-9_-]{0,62}$'::text))
);

CREATE TABLE messages (
    workspace_id text NOT NULL,
    message_id text NOT NULL,
    conversation_id text NOT NULL,
    session_id text DEFAULT ''::text NOT NULL,
    turn_id text DEFAULT ''::text NOT NULL,
    user_id text,
    seq bigint NOT NULL,
    role text NOT NULL,
    text text NOT NULL,
    message_ref text DEFAULT ''::text NOT NULL,
    citations jsonb DEFAULT '[]'::jsonb NOT NULL,
    retrieval jsonb DEFAULT '{}'::jsonb NOT NULL,
    edited_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT messages_role_check CHECK ((role = ANY (ARRAY['user'::text, 'assistant'::text, 'system'::text])))
);

CREATE TABLE chunks (
    workspace_id text NOT NULL,
    chunk_id text NOT NULL,
    collection_id text NOT NULL,
    document_id text NOT NULL,
    "position" integer NOT NULL,
    heading text DEFAULT ''::text NOT NULL,
    content text NOT NULL,
    char_start integer NOT NULL,
    char_end integer NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    search_vector tsvector GENERATED ALWAYS AS (to_tsvector('english'::regconfig, ((heading || '
'::text) || content))) STORED NOT NULL
);

CREATE TABLE chunk_vectors (
    workspace_id text NOT NULL,
    chunk_id text NOT NULL,
    "position" smallint NOT NULL,
    collection_id text NOT NULL,
    document_id text NOT NULL,
    embedding halfvec NOT NULL,
    impacts sparsevec,
    CONSTRAINT chunk_vectors_check CHECK ((("position" = 0) = (impacts IS NOT NULL)))
)
WITH (toast_tuple_target='8160');
ALTER TABLE ONLY chunk_vectors ALTER COLUMN embedding SET STORAGE MAIN;
ALTER TABLE ONLY chunk_vectors ALTER COLUMN impacts SET STORAGE MAIN;

CREATE TABLE webhook_minutes (
    workspace_id text NOT NULL,
    webhook_id text NOT NULL,
    minute timestamp with time zone NOT NULL,
    succeeded integer DEFAULT 0 NOT NULL,
    failed integer DEFAULT 0 NOT NULL,
    buckets integer[] NOT NULL
)
WITH (fillfactor='70');

CREATE TABLE sessions (
    workspace_id text NOT NULL,
    session_id text NOT NULL,
    conversation_id text NOT NULL,
    user_id text NOT NULL,
    snapshot jsonb DEFAULT '{}'::jsonb NOT NULL,
    outcome text,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    last_turn_at timestamp with time zone DEFAULT now() NOT NULL,
    closed_at timestamp with time zone,
    CONSTRAINT sessions_outcome_check CHECK ((outcome = ANY (ARRAY['resolved'::text, 'escalated'::text, 'abandoned'::text])))
);

CREATE TABLE webhook_deliveries_done (
    workspace_id text NOT NULL,
    delivery_id text NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    webhook_id text NOT NULL,
    status text NOT NULL,
    attempts integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    settled_at timestamp with time zone NOT NULL,
    body bytea,
    ordering_key text,
    seq bigint,
    CONSTRAINT webhook_deliveries_done_status_check CHECK ((status = ANY (ARRAY['delivered'::text, 'exhausted'::text, 'cancelled'::text])))
)
PARTITION BY RANGE (event_id);

CREATE VIEW all_deliveries WITH (security_invoker='true') AS
 SELECT webhook_deliveries.workspace_id,
    webhook_deliveries.delivery_id,
    webhook_deliveries.event_id,
    webhook_deliveries.event_type,
    webhook_deliveries.webhook_id,
    webhook_deliveries.status,
    webhook_deliveries.attempts,
    webhook_deliveries.due_at,
    webhook_deliveries.created_at,
    webhook_deliveries.settled_at,
    webhook_deliveries.body,
    webhook_deliveries.ordering_key,
    webhook_deliveries.seq
   FROM webhook_deliveries
UNION ALL
 SELECT webhook_deliveries_done.workspace_id,
    webhook_deliveries_done.delivery_id,
    webhook_deliveries_done.event_id,
    webhook_deliveries_done.event_type,
    webhook_deliveries_done.webhook_id,
    webhook_deliveries_done.status,
    webhook_deliveries_done.attempts,
    NULL::timestamp with time zone AS due_at,
    webhook_deliveries_done.created_at,
    webhook_deliveries_done.settled_at,
    webhook_deliveries_done.body,
    webhook_deliveries_done.ordering_key,
    webhook_deliveries_done.seq
   FROM webhook_deliveries_done;

CREATE TABLE documents (
    workspace_id text NOT NULL,
    document_id text NOT NULL,
    collection_id text NOT NULL,
    source_id text NOT NULL,
    external_id text NOT NULL,
    title text NOT NULL,
    content text NOT NULL,
    content_hash bytea NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE feedback (
    workspace_id text NOT NULL,
    feedback_id text NOT NULL,
    message_id text NOT NULL,
    user_id text NOT NULL,
    rating text NOT NULL,
    comment text DEFAULT ''::text NOT NULL,
    source text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT feedback_rating_check CHECK ((rating = ANY (ARRAY['up'::text, 'down'::text]))),
    CONSTRAINT feedback_source_check CHECK ((source = ANY (ARRAY['button'::text, 'reaction'::text, 'api'::text])))
);

CREATE TABLE identity_links (
    workspace_id text NOT NULL,
    link_id text NOT NULL,
    identity_id text NOT NULL,
    from_user text NOT NULL,
    into_user text NOT NULL,
    origin text NOT NULL,
    linked_at timestamp with time zone DEFAULT now() NOT NULL,
    unlinked_at timestamp with time zone
);

ALTER TABLE inbound_updates ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME inbound_updates_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE ingest_items (
    workspace_id text NOT NULL,
    job_id text NOT NULL,
    "position" integer NOT NULL,
    kind text NOT NULL,
    uri text NOT NULL,
    external_id text NOT NULL,
    title text NOT NULL,
    format text NOT NULL,
    content text NOT NULL,
    metadata jsonb NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    CONSTRAINT ingest_items_format_check CHECK ((format = ANY (ARRAY['text'::text, 'markdown'::text, 'html'::text])))
);

CREATE TABLE link_codes (
    workspace_id text NOT NULL,
    user_id text NOT NULL,
    code_hash bytea NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE link_offers (
    workspace_id text NOT NULL,
    identity_id text NOT NULL,
    into_user text NOT NULL,
    code_hash bytea NOT NULL,
    shown text[] NOT NULL,
    expires_at timestamp with time zone NOT NULL
);

ALTER TABLE messages ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME messages_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE outbound_messages ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME outbound_messages_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE schema_migrations (
    number integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE sources (
    workspace_id text NOT NULL,
    source_id text NOT NULL,
    collection_id text NOT NULL,
    kind text NOT NULL,
    uri text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT sources_kind_check CHECK ((kind = ANY (ARRAY['text'::text, 'file'::text])))
);

CREATE TABLE users (
    workspace_id text NOT NULL,
    user_id text NOT NULL,
    display_name text DEFAULT ''::text NOT NULL,
    language text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE webhook_attempts (
    workspace_id text NOT NULL,
    delivery_id text NOT NULL,
    attempt integer NOT NULL,
    started_at timestamp with time zone NOT NULL,
    duration_ms integer NOT NULL,
    status_code integer,
    error_code text DEFAULT ''::text NOT NULL,
    detail text DEFAULT ''::text NOT NULL,
    response_headers jsonb DEFAULT '{}'::jsonb NOT NULL,
    response bytea DEFAULT '\x'::bytea NOT NULL,
    truncated boolean DEFAULT false NOT NULL,
    next_attempt_at timestamp with time zone,
    webhook_id text DEFAULT ''::text NOT NULL,
    url text DEFAULT ''::text NOT NULL,
    request_headers jsonb DEFAULT '{}'::jsonb NOT NULL,
    expunged_at timestamp with time zone,
    CONSTRAINT webhook_attempts_response_check CHECK ((octet_length(response) <= 16384))
)
PARTITION BY RANGE (delivery_id);

ALTER TABLE webhook_deliveries ALTER COLUMN "position" ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME webhook_deliveries_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE webhook_lanes (
    workspace_id text NOT NULL,
    webhook_id text NOT NULL,
    ordering_key text NOT NULL,
    last_seq bigint NOT NULL
);

CREATE TABLE webhook_operations (
    workspace_id text NOT NULL,
    operation_id text NOT NULL,
    kind text NOT NULL,
    webhook_id text DEFAULT ''::text NOT NULL,
    filter jsonb DEFAULT '{}'::jsonb NOT NULL,
    status text DEFAULT 'queued'::text NOT NULL,
    total bigint DEFAULT 0,
    done bigint DEFAULT 0 NOT NULL,
    cursor text DEFAULT ''::text NOT NULL,
    failure text DEFAULT ''::text NOT NULL,
    lease_token text,
    lease_until timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    settled_at timestamp with time zone,
    left_out bigint DEFAULT 0 NOT NULL,
    CONSTRAINT webhook_operations_kind_check CHECK ((kind = ANY (ARRAY['resend'::text, 'recover'::text, 'replay_missing'::text]))),
    CONSTRAINT webhook_operations_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'running'::text, 'done'::text, 'failed'::text, 'cancelled'::text])))
);

CREATE TABLE webhook_secrets (
    workspace_id text NOT NULL,
    webhook_id text NOT NULL,
    secret_id text NOT NULL,
    sealed bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    kind text DEFAULT 'v1'::text NOT NULL,
    CONSTRAINT webhook_secrets_kind_check CHECK ((kind = ANY (ARRAY['v1'::text, 'v1a'::text])))
);

ALTER TABLE ONLY api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (workspace_id, key_id);

ALTER TABLE ONLY api_keys
    ADD CONSTRAINT api_keys_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY attachments
    ADD CONSTRAINT attachments_pkey PRIMARY KEY (workspace_id, attachment_id);

ALTER TABLE ONLY channel_accounts
    ADD CONSTRAINT channel_accounts_account_id_key UNIQUE (account_id);

ALTER TABLE ONLY channel_accounts
    ADD CONSTRAINT channel_accounts_pkey PRIMARY KEY (workspace_id, account_id);

ALTER TABLE ONLY chunk_vectors
    ADD CONSTRAINT chunk_vectors_pkey PRIMARY KEY (workspace_id, chunk_id, "position");

ALTER TABLE ONLY chunks
    ADD CONSTRAINT chunks_pkey PRIMARY KEY (workspace_id, chunk_id);

ALTER TABLE ONLY collections
    ADD CONSTRAINT collections_pkey PRIMARY KEY (workspace_id, collection_id);

ALTER TABLE ONLY collections
    ADD CONSTRAINT collections_workspace_id_name_key UNIQUE (workspace_id, name);

ALTER TABLE ONLY conversations
    ADD CONSTRAINT conversations_pkey PRIMARY KEY (workspace_id, conversation_id);

ALTER TABLE ONLY conversations
    ADD CONSTRAINT conversations_workspace_id_account_id_conversation_key_key UNIQUE (workspace_id, account_id, conversation_key);

ALTER TABLE ONLY documents
    ADD CONSTRAINT documents_pkey PRIMARY KEY (workspace_id, document_id);

ALTER TABLE ONLY documents
    ADD CONSTRAINT documents_workspace_id_collection_id_external_id_key UNIQUE (workspace_id, collection_id, external_id);

ALTER TABLE ONLY events
    ADD CONSTRAINT events_pkey PRIMARY KEY (workspace_id, event_id);

ALTER TABLE ONLY feedback
    ADD CONSTRAINT feedback_pkey PRIMARY KEY (workspace_id, feedback_id);

ALTER TABLE ONLY feedback
    ADD CONSTRAINT feedback_workspace_id_message_id_user_id_key UNIQUE (workspace_id, message_id, user_id);

ALTER TABLE ONLY hook_calls
    ADD CONSTRAINT hook_calls_pkey PRIMARY KEY (workspace_id, hook_id, external_id);

ALTER TABLE ONLY hooks
    ADD CONSTRAINT hooks_pkey PRIMARY KEY (workspace_id, hook_id);

ALTER TABLE ONLY hooks
    ADD CONSTRAINT hooks_token_hash_key UNIQUE (token_hash);

ALTER TABLE ONLY idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (workspace_id, route, key);

ALTER TABLE ONLY identities
    ADD CONSTRAINT identities_pkey PRIMARY KEY (workspace_id, identity_id);

ALTER TABLE ONLY identities
    ADD CONSTRAINT identities_workspace_id_account_id_external_id_key UNIQUE (workspace_id, account_id, external_id);

ALTER TABLE ONLY identity_links
    ADD CONSTRAINT identity_links_pkey PRIMARY KEY (workspace_id, link_id);

ALTER TABLE ONLY inbound_updates
    ADD CONSTRAINT inbound_updates_pkey PRIMARY KEY (workspace_id, update_id);

ALTER TABLE ONLY inbound_updates
    ADD CONSTRAINT inbound_updates_workspace_id_account_id_external_id_key UNIQUE (workspace_id, account_id, external_id);

ALTER TABLE ONLY ingest_items
    ADD CONSTRAINT ingest_items_pkey PRIMARY KEY (workspace_id, job_id, "position");

ALTER TABLE ONLY ingest_jobs
    ADD CONSTRAINT ingest_jobs_pkey PRIMARY KEY (workspace_id, job_id);

ALTER TABLE ONLY lexicon
    ADD CONSTRAINT lexicon_pkey PRIMARY KEY (workspace_id, lexeme, collection_id);

ALTER TABLE ONLY link_codes
    ADD CONSTRAINT link_codes_pkey PRIMARY KEY (workspace_id, user_id);

ALTER TABLE ONLY link_codes
    ADD CONSTRAINT link_codes_workspace_id_code_hash_key UNIQUE (workspace_id, code_hash);

ALTER TABLE ONLY link_offers
    ADD CONSTRAINT link_offers_pkey PRIMARY KEY (workspace_id, identity_id);

ALTER TABLE ONLY messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (workspace_id, message_id);

ALTER TABLE ONLY organizations
    ADD CONSTRAINT organizations_pkey PRIMARY KEY (organization_id);

ALTER TABLE ONLY organizations
    ADD CONSTRAINT organizations_slug_key UNIQUE (slug);

ALTER TABLE ONLY outbound_messages
    ADD CONSTRAINT outbound_messages_pkey PRIMARY KEY (workspace_id, outbound_id);

ALTER TABLE ONLY pairings
    ADD CONSTRAINT pairings_pkey PRIMARY KEY (workspace_id, pairing_id);

ALTER TABLE ONLY pairings
    ADD CONSTRAINT pairings_workspace_id_account_id_external_id_key UNIQUE (workspace_id, account_id, external_id);

ALTER TABLE ONLY schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (number);

ALTER TABLE ONLY sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (workspace_id, session_id);

ALTER TABLE ONLY sources
    ADD CONSTRAINT sources_pkey PRIMARY KEY (workspace_id, source_id);

ALTER TABLE ONLY sources
    ADD CONSTRAINT sources_workspace_id_collection_id_uri_key UNIQUE (workspace_id, collection_id, uri);

ALTER TABLE ONLY turns
    ADD CONSTRAINT turns_pkey PRIMARY KEY (workspace_id, turn_id);

ALTER TABLE ONLY users
    ADD CONSTRAINT users_pkey PRIMARY KEY (workspace_id, user_id);

ALTER TABLE ONLY webhook_attempts
    ADD CONSTRAINT webhook_attempts_pkey PRIMARY KEY (workspace_id, delivery_id, attempt);

ALTER TABLE ONLY webhook_deliveries_done
    ADD CONSTRAINT webhook_deliveries_done_pkey PRIMARY KEY (workspace_id, event_id, webhook_id);

ALTER TABLE ONLY webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (workspace_id, delivery_id);

ALTER TABLE ONLY webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_workspace_id_event_id_webhook_id_key UNIQUE (workspace_id, event_id, webhook_id);

ALTER TABLE ONLY webhook_health
    ADD CONSTRAINT webhook_health_pkey PRIMARY KEY (workspace_id, webhook_id);

ALTER TABLE ONLY webhook_lanes
    ADD CONSTRAINT webhook_lanes_pkey PRIMARY KEY (workspace_id, webhook_id, ordering_key);

ALTER TABLE ONLY webhook_minutes
    ADD CONSTRAINT webhook_minutes_pkey PRIMARY KEY (workspace_id, webhook_id, minute);

ALTER TABLE ONLY webhook_operations
    ADD CONSTRAINT webhook_operations_pkey PRIMARY KEY (workspace_id, operation_id);

ALTER TABLE ONLY webhook_secrets
    ADD CONSTRAINT webhook_secrets_pkey PRIMARY KEY (workspace_id, webhook_id, secret_id);

ALTER TABLE ONLY webhooks
    ADD CONSTRAINT webhooks_pkey PRIMARY KEY (workspace_id, webhook_id);

ALTER TABLE ONLY webhooks
    ADD CONSTRAINT webhooks_webhook_id_key UNIQUE (webhook_id);

ALTER TABLE ONLY webhooks
    ADD CONSTRAINT webhooks_workspace_id_uid_key UNIQUE (workspace_id, uid);

ALTER TABLE ONLY workspaces
    ADD CONSTRAINT workspaces_pkey PRIMARY KEY (workspace_id);

ALTER TABLE ONLY workspaces
    ADD CONSTRAINT workspaces_slug_key UNIQUE (slug);

CREATE INDEX attachments_by_conversation ON attachments USING btree (workspace_id, conversation_id, attachment_id);

CREATE INDEX attachments_by_message ON attachments USING btree (workspace_id, message_id) WHERE (message_id IS NOT NULL);

CREATE INDEX attachments_by_session ON attachments USING btree (workspace_id, session_id);

CREATE INDEX chunk_vectors_by_collection ON chunk_vectors USING btree (workspace_id, collection_id);

CREATE INDEX chunk_vectors_near_384 ON chunk_vectors USING hnsw (((embedding)::halfvec(384)) halfvec_cosine_ops) WITH (m='16', ef_construction='64') WHERE (vector_dims(embedding) = 384);

CREATE INDEX chunks_by_document ON chunks USING btree (workspace_id, document_id, "position");

CREATE INDEX chunks_metadata ON chunks USING gin (metadata jsonb_path_ops) WHERE (metadata <> '{}'::jsonb);

CREATE INDEX chunks_words ON chunks USING gin (((search_vector || array_to_tsvector(ARRAY[('@'::text || workspace_id), ('@'::text || collection_id)])))) WITH (gin_pending_list_limit='256');

CREATE INDEX conversations_by_time ON conversations USING btree (workspace_id, last_message_at DESC);

CREATE INDEX dead_updates ON inbound_updates USING btree (workspace_id, seq) WHERE (status = 'dead'::text);

CREATE INDEX documents_by_source ON documents USING btree (workspace_id, source_id);

CREATE INDEX feedback_by_user ON feedback USING btree (workspace_id, user_id);

CREATE INDEX hook_calls_by_age ON hook_calls USING btree (created_at);

CREATE INDEX hook_calls_newest ON hook_calls USING btree (workspace_id, hook_id, call_id DESC);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys USING btree (created_at);

CREATE INDEX identities_by_user ON identities USING btree (workspace_id, user_id);

CREATE INDEX identity_links_by_identity ON identity_links USING btree (workspace_id, identity_id);

CREATE INDEX messages_by_turn ON messages USING btree (workspace_id, turn_id);

CREATE INDEX messages_in_order ON messages USING btree (workspace_id, conversation_id, seq);

CREATE UNIQUE INDEX one_open_session ON sessions USING btree (workspace_id, conversation_id) WHERE (closed_at IS NULL);

CREATE UNIQUE INDEX one_running_turn ON turns USING btree (workspace_id, conversation_id) WHERE (status = 'running'::text);

CREATE UNIQUE INDEX one_send_at_a_time ON outbound_messages USING btree (workspace_id, conversation_id) WHERE (state = 'sending'::text);

CREATE INDEX open_jobs ON ingest_jobs USING btree (lease_until) WHERE (status = ANY (ARRAY['queued'::text, 'running'::text]));

CREATE INDEX open_sessions_by_user ON sessions USING btree (workspace_id, user_id) WHERE (closed_at IS NULL);

CREATE UNIQUE INDEX outbound_by_id ON outbound_messages USING btree (outbound_id);

CREATE INDEX outbound_by_message ON outbound_messages USING btree (workspace_id, message_id);

CREATE INDEX outbound_due ON outbound_messages USING btree (due_at) WHERE (state = 'pending'::text);

CREATE INDEX outbound_leases ON outbound_messages USING btree (lease_until) WHERE (state = 'sending'::text);

CREATE INDEX outbound_queue ON outbound_messages USING btree (workspace_id, conversation_id, seq) WHERE (state = ANY (ARRAY['pending'::text, 'sending'::text]));

CREATE INDEX outbound_undecided ON outbound_messages USING btree (workspace_id, state, seq) WHERE (state = ANY (ARRAY['unknown'::text, 'failed'::text]));

CREATE INDEX pending_updates ON inbound_updates USING btree (workspace_id, account_id, conversation_key, seq) WHERE (status = 'pending'::text);

CREATE INDEX running_turns_by_lease ON turns USING btree (lease_until) WHERE (status = 'running'::text);

CREATE UNIQUE INDEX turns_by_id ON turns USING btree (turn_id);

CREATE INDEX updates_by_turn ON inbound_updates USING btree (workspace_id, turn_id) WHERE (turn_id IS NOT NULL);

CREATE INDEX webhook_deliveries_done_by_type ON ONLY webhook_deliveries_done USING btree (workspace_id, event_type, delivery_id);

CREATE INDEX webhook_deliveries_done_by_webhook ON ONLY webhook_deliveries_done USING btree (workspace_id, webhook_id, delivery_id);

CREATE INDEX webhook_deliveries_done_failed ON ONLY webhook_deliveries_done USING btree (workspace_id, delivery_id) WHERE (status <> 'delivered'::text);

CREATE INDEX webhook_deliveries_done_log ON ONLY webhook_deliveries_done USING btree (workspace_id, delivery_id);

CREATE INDEX webhook_deliveries_lanes ON webhook_deliveries USING btree (webhook_id, ordering_key, seq, "position") WHERE (ordering_key <> ''::text);

CREATE INDEX webhook_deliveries_leased ON webhook_deliveries USING btree (webhook_id, lease_until) WHERE (status = 'leased'::text);

CREATE INDEX webhook_deliveries_log ON webhook_deliveries USING btree (workspace_id, webhook_id, delivery_id);

CREATE INDEX webhook_deliveries_pending ON webhook_deliveries USING btree (stage, webhook_id, due_at, "position") WHERE ((status = 'pending'::text) AND (NOT parked));

CREATE INDEX webhook_health_probes ON webhook_health USING btree (probe_at) WHERE (probe_at IS NOT NULL);

CREATE INDEX webhook_minutes_by_time ON webhook_minutes USING btree (minute);

CREATE INDEX webhook_minutes_to_fold ON webhook_minutes USING btree (minute) WHERE (EXTRACT(minute FROM (minute AT TIME ZONE 'UTC'::text)) <> (0)::numeric);

CREATE INDEX webhook_operations_due ON webhook_operations USING btree (lease_until) WHERE (status = ANY (ARRAY['queued'::text, 'running'::text]));

CREATE TRIGGER chunks_counted AFTER INSERT ON chunks REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_words();

CREATE TRIGGER chunks_uncounted AFTER DELETE ON chunks REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_words();

CREATE TRIGGER lanes_are_let_go AFTER UPDATE OF lease_token ON webhook_deliveries FOR EACH ROW WHEN (((old.ordering_key <> ''::text) AND (old.lease_token IS NOT NULL) AND (new.lease_token IS NULL))) EXECUTE FUNCTION wake_lane();

CREATE TRIGGER lanes_move_on AFTER DELETE ON webhook_deliveries FOR EACH ROW WHEN ((old.ordering_key <> ''::text)) EXECUTE FUNCTION wake_lane();

CREATE TRIGGER settled_rows_move AFTER UPDATE OF settled_at ON webhook_deliveries FOR EACH ROW WHEN ((new.settled_at IS NOT NULL)) EXECUTE FUNCTION move_settled_delivery();

ALTER TABLE ONLY api_keys
    ADD CONSTRAINT api_keys_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES workspaces(workspace_id);

ALTER TABLE ONLY attachments
    ADD CONSTRAINT attachments_workspace_id_conversation_id_fkey FOREIGN KEY (workspace_id, conversation_id) REFERENCES conversations(workspace_id, conversation_id) ON DELETE CASCADE;

ALTER TABLE ONLY channel_accounts
    ADD CONSTRAINT channel_accounts_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES workspaces(workspace_id);

ALTER TABLE ONLY chunk_vectors
    ADD CONSTRAINT chunk_vectors_workspace_id_chunk_id_fkey FOREIGN KEY (workspace_id, chunk_id) REFERENCES chunks(workspace_id, chunk_id) ON DELETE CASCADE;

ALTER TABLE ONLY chunks
    ADD CONSTRAINT chunks_workspace_id_document_id_fkey FOREIGN KEY (workspace_id, document_id) REFERENCES documents(workspace_id, document_id) ON DELETE CASCADE;

ALTER TABLE ONLY collections
    ADD CONSTRAINT collections_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES workspaces(workspace_id);

ALTER TABLE ONLY conversations
    ADD CONSTRAINT conversations_workspace_id_account_id_fkey FOREIGN KEY (workspace_id, account_id) REFERENCES channel_accounts(workspace_id, account_id) ON DELETE CASCADE;

ALTER TABLE ONLY documents
    ADD CONSTRAINT documents_workspace_id_source_id_fkey FOREIGN KEY (workspace_id, source_id) REFERENCES sources(workspace_id, source_id) ON DELETE CASCADE;

ALTER TABLE ONLY feedback
    ADD CONSTRAINT feedback_workspace_id_message_id_fkey FOREIGN KEY (workspace_id, message_id) REFERENCES messages(workspace_id, message_id) ON DELETE CASCADE;

ALTER TABLE ONLY feedback
    ADD CONSTRAINT feedback_workspace_id_user_id_fkey FOREIGN KEY (workspace_id, user_id) REFERENCES users(workspace_id, user_id);

ALTER TABLE ONLY hook_calls
    ADD CONSTRAINT hook_calls_workspace_id_hook_id_fkey FOREIGN KEY (workspace_id, hook_id) REFERENCES hooks(workspace_id, hook_id) ON DELETE CASCADE;

ALTER TABLE ONLY hooks
    ADD CONSTRAINT hooks_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES workspaces(workspace_id);

ALTER TABLE ONLY identities
    ADD CONSTRAINT identities_workspace_id_account_id_fkey FOREIGN KEY (workspace_id, account_id) REFERENCES channel_accounts(workspace_id, account_id) ON DELETE CASCADE;

ALTER TABLE ONLY identities
    ADD CONSTRAINT identities_workspace_id_user_id_fkey FOREIGN KEY (workspace_id, user_id) REFERENCES users(workspace_id, user_id);

ALTER TABLE ONLY identity_links
    ADD CONSTRAINT identity_links_workspace_id_from_user_fkey FOREIGN KEY (workspace_id, from_user) REFERENCES users(workspace_id, user_id);

ALTER TABLE ONLY identity_links
    ADD CONSTRAINT identity_links_workspace_id_identity_id_fkey FOREIGN KEY (workspace_id, identity_id) REFERENCES identities(workspace_id, identity_id) ON DELETE CASCADE;

ALTER TABLE ONLY identity_links
    ADD CONSTRAINT identity_links_workspace_id_into_user_fkey FOREIGN KEY (workspace_id, into_user) REFERENCES users(workspace_id, user_id);

ALTER TABLE ONLY ingest_items
    ADD CONSTRAINT ingest_items_workspace_id_job_id_fkey FOREIGN KEY (workspace_id, job_id) REFERENCES ingest_jobs(workspace_id, job_id) ON DELETE CASCADE;

ALTER TABLE ONLY ingest_jobs
    ADD CONSTRAINT ingest_jobs_workspace_id_collection_id_fkey FOREIGN KEY (workspace_id, collection_id) REFERENCES collections(workspace_id, collection_id) ON DELETE CASCADE;

ALTER TABLE ONLY lexicon
    ADD CONSTRAINT lexicon_workspace_id_collection_id_fkey FOREIGN KEY (workspace_id, collection_id) REFERENCES collections(workspace_id, collection_id) ON DELETE CASCADE;

ALTER TABLE ONLY link_codes
    ADD CONSTRAINT link_codes_workspace_id_user_id_fkey FOREIGN KEY (workspace_id, user_id) REFERENCES users(workspace_id, user_id);

ALTER TABLE ONLY link_offers
    ADD CONSTRAINT link_offers_workspace_id_identity_id_fkey FOREIGN KEY (workspace_id, identity_id) REFERENCES identities(workspace_id, identity_id) ON DELETE CASCADE;

ALTER TABLE ONLY link_offers
    ADD CONSTRAINT link_offers_workspace_id_into_user_fkey FOREIGN KEY (workspace_id, into_user) REFERENCES users(workspace_id, user_id);

ALTER TABLE ONLY messages
    ADD CONSTRAINT messages_workspace_id_conversation_id_fkey FOREIGN KEY (workspace_id, conversation_id) REFERENCES conversations(workspace_id, conversation_id) ON DELETE CASCADE;

ALTER TABLE ONLY outbound_messages
    ADD CONSTRAINT outbound_messages_workspace_id_conversation_id_fkey FOREIGN KEY (workspace_id, conversation_id) REFERENCES conversations(workspace_id, conversation_id) ON DELETE CASCADE;

ALTER TABLE ONLY pairings
    ADD CONSTRAINT pairings_workspace_id_account_id_fkey FOREIGN KEY (workspace_id, account_id) REFERENCES channel_accounts(workspace_id, account_id) ON DELETE CASCADE;

ALTER TABLE ONLY sessions
    ADD CONSTRAINT sessions_workspace_id_conversation_id_fkey FOREIGN KEY (workspace_id, conversation_id) REFERENCES conversations(workspace_id, conversation_id) ON DELETE CASCADE;

ALTER TABLE ONLY sources
    ADD CONSTRAINT sources_workspace_id_collection_id_fkey FOREIGN KEY (workspace_id, collection_id) REFERENCES collections(workspace_id, collection_id) ON DELETE CASCADE;

ALTER TABLE ONLY turns
    ADD CONSTRAINT turns_workspace_id_conversation_id_fkey FOREIGN KEY (workspace_id, conversation_id) REFERENCES conversations(workspace_id, conversation_id) ON DELETE CASCADE;

ALTER TABLE ONLY users
    ADD CONSTRAINT users_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES workspaces(workspace_id);

ALTER TABLE ONLY webhook_health
    ADD CONSTRAINT webhook_health_workspace_id_webhook_id_fkey FOREIGN KEY (workspace_id, webhook_id) REFERENCES webhooks(workspace_id, webhook_id) ON DELETE CASCADE;

ALTER TABLE ONLY webhook_lanes
    ADD CONSTRAINT webhook_lanes_workspace_id_webhook_id_fkey FOREIGN KEY (workspace_id, webhook_id) REFERENCES webhooks(workspace_id, webhook_id) ON DELETE CASCADE;

ALTER TABLE ONLY webhook_operations
    ADD CONSTRAINT webhook_operations_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES workspaces(workspace_id);

ALTER TABLE ONLY webhook_secrets
    ADD CONSTRAINT webhook_secrets_workspace_id_webhook_id_fkey FOREIGN KEY (workspace_id, webhook_id) REFERENCES webhooks(workspace_id, webhook_id) ON DELETE CASCADE;

ALTER TABLE ONLY webhooks
    ADD CONSTRAINT webhooks_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES workspaces(workspace_id);

ALTER TABLE ONLY workspaces
    ADD CONSTRAINT workspaces_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations(organization_id);

ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE attachments ENABLE ROW LEVEL SECURITY;

ALTER TABLE channel_accounts ENABLE ROW LEVEL SECURITY;

ALTER TABLE chunk_vectors ENABLE ROW LEVEL SECURITY;

ALTER TABLE chunks ENABLE ROW LEVEL SECURITY;

ALTER TABLE collections ENABLE ROW LEVEL SECURITY;

ALTER TABLE conversations ENABLE ROW LEVEL SECURITY;

ALTER TABLE documents ENABLE ROW LEVEL SECURITY;

ALTER TABLE events ENABLE ROW LEVEL SECURITY;

ALTER TABLE feedback ENABLE ROW LEVEL SECURITY;

ALTER TABLE hook_calls ENABLE ROW LEVEL SECURITY;

ALTER TABLE hooks ENABLE ROW LEVEL SECURITY;

ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE identities ENABLE ROW LEVEL SECURITY;

ALTER TABLE identity_links ENABLE ROW LEVEL SECURITY;

ALTER TABLE inbound_updates ENABLE ROW LEVEL SECURITY;

ALTER TABLE ingest_items ENABLE ROW LEVEL SECURITY;

ALTER TABLE ingest_jobs ENABLE ROW LEVEL SECURITY;

ALTER TABLE lexicon ENABLE ROW LEVEL SECURITY;

ALTER TABLE link_codes ENABLE ROW LEVEL SECURITY;

ALTER TABLE link_offers ENABLE ROW LEVEL SECURITY;

ALTER TABLE messages ENABLE ROW LEVEL SECURITY;

ALTER TABLE outbound_messages ENABLE ROW LEVEL SECURITY;

ALTER TABLE pairings ENABLE ROW LEVEL SECURITY;

ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;

ALTER TABLE sources ENABLE ROW LEVEL SECURITY;

ALTER TABLE turns ENABLE ROW LEVEL SECURITY;

ALTER TABLE users ENABLE ROW LEVEL SECURITY;

ALTER TABLE webhook_attempts ENABLE ROW LEVEL SECURITY;

ALTER TABLE webhook_deliveries ENABLE ROW LEVEL SECURITY;

ALTER TABLE webhook_deliveries_done ENABLE ROW LEVEL SECURITY;

ALTER TABLE webhook_health ENABLE ROW LEVEL SECURITY;

ALTER TABLE webhook_lanes ENABLE ROW LEVEL SECURITY;

ALTER TABLE webhook_minutes ENABLE ROW LEVEL SECURITY;

ALTER TABLE webhook_operations ENABLE ROW LEVEL SECURITY;

ALTER TABLE webhook_secrets ENABLE ROW LEVEL SECURITY;

ALTER TABLE webhooks ENABLE ROW LEVEL SECURITY;

CREATE POLICY workspace_only ON api_keys USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON attachments USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON channel_accounts USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON chunk_vectors USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON chunks USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON collections USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON conversations USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON documents USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON events USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON feedback USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON hook_calls USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON hooks USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON idempotency_keys USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON identities USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON identity_links USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON inbound_updates USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON ingest_items USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON ingest_jobs USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON lexicon USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON link_codes USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON link_offers USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON messages USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON outbound_messages USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON pairings USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON sessions USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON sources USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON turns USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON users USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON webhook_attempts USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON webhook_deliveries USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON webhook_deliveries_done USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON webhook_health USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON webhook_lanes USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON webhook_minutes USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON webhook_operations USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON webhook_secrets USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON webhooks USING ((workspace_id = current_workspace()));

CREATE POLICY workspace_only ON workspaces USING ((workspace_id = current_workspace()));

ALTER TABLE workspaces ENABLE ROW LEVEL SECURITY;

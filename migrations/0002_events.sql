-- Events, the endpoints that want them, one delivery owed per pair, and every try that was made.
--
-- Functions that work on the queue forbid plans that read whole tables: such a plan, made and kept while a table was small,
-- would stay in use after it had grown. And what is looked up by its key is tested for being pending or leased by the
-- columns that say the same (lease_token, settled_at): statistics often claim that no row has that status, and the planner
-- would then read all of the partial index for every key.
--
-- A delivery is claimed with a lease and a token; only the holder of the token may settle it. Its number of attempts is
-- taken at the claim, so a worker that dies has used one up.

-- No foreign key to workspaces here or on deliveries: its check would share-lock one hot row for every event.
CREATE TABLE events (
    workspace_id text NOT NULL,
    event_id text NOT NULL,
    type text NOT NULL,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, event_id)
);
CALL protect('events', 'SELECT, INSERT');

CREATE TABLE webhooks (
    workspace_id text NOT NULL REFERENCES workspaces,
    webhook_id text NOT NULL UNIQUE,
    url text NOT NULL,
    events text[] NOT NULL CHECK (cardinality(events) > 0),
    description text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'enabled' CHECK (status IN ('enabled', 'disabled')),
    disabled_reason text NOT NULL DEFAULT '',
    failing_since timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, webhook_id)
);
CALL protect('webhooks');

-- All unexpired secrets sign. The seal is bound to the webhook, so the versions of one endpoint may stand in any order.
CREATE TABLE webhook_secrets (
    workspace_id text NOT NULL,
    webhook_id text NOT NULL,
    secret_id text NOT NULL,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    PRIMARY KEY (workspace_id, webhook_id, secret_id),
    FOREIGN KEY (workspace_id, webhook_id) REFERENCES webhooks ON DELETE CASCADE
);
CALL protect('webhook_secrets');

CREATE TABLE webhook_deliveries (
    workspace_id text NOT NULL,
    delivery_id text NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    webhook_id text NOT NULL,
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'leased', 'delivered', 'exhausted', 'cancelled')),
    attempts integer NOT NULL DEFAULT 0,
    retry boolean GENERATED ALWAYS AS (attempts > 0) STORED,
    due_at timestamptz NOT NULL DEFAULT now(),
    lease_token text,
    lease_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,
    PRIMARY KEY (workspace_id, delivery_id),
    UNIQUE (workspace_id, event_id, webhook_id),
    CHECK ((status = 'leased') = (lease_token IS NOT NULL)),
    CHECK ((lease_token IS NULL) = (lease_until IS NULL)),
    CHECK ((status IN ('pending', 'leased')) = (settled_at IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (retry, webhook_id, due_at) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_leased ON webhook_deliveries (webhook_id, lease_until) WHERE status = 'leased';
CREATE INDEX webhook_deliveries_log ON webhook_deliveries (workspace_id, webhook_id, delivery_id);
CALL protect('webhook_deliveries', 'SELECT, INSERT, UPDATE');

CREATE TABLE webhook_attempts (
    workspace_id text NOT NULL,
    delivery_id text NOT NULL,
    attempt integer NOT NULL,
    started_at timestamptz NOT NULL,
    duration_ms integer NOT NULL,
    status_code integer,
    error_code text NOT NULL DEFAULT '',
    detail text NOT NULL DEFAULT '',
    response_headers jsonb NOT NULL DEFAULT '{}',
    response bytea NOT NULL DEFAULT '' CHECK (octet_length(response) <= 16384),
    truncated boolean NOT NULL DEFAULT false,
    next_attempt_at timestamptz,
    PRIMARY KEY (workspace_id, delivery_id, attempt)
);
CALL protect('webhook_attempts', 'SELECT');

-- The bytes that are stored once, signed and sent, the same for every endpoint and every try.
CREATE FUNCTION event_body(event_id text, event_type text, workspace text, at timestamptz, data jsonb) RETURNS bytea
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN convert_to(
        '{"id":' || to_json(event_id) || ',"type":' || to_json(event_type)
        || ',"timestamp":"' || to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
        || '","workspace_id":' || to_json(workspace) || ',"data":' || data || '}', 'UTF8');

-- Every pattern that a subscription could use to ask for this type: chat.a.b gives {*, chat.*, chat.a.*, chat.a.b}.
CREATE FUNCTION patterns_for(event_type text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY['*', event_type] || ARRAY(
        SELECT array_to_string(words[:n], '.') || '.*'
        FROM (SELECT string_to_array(event_type, '.') AS words) AS split, generate_series(1, cardinality(words) - 1) AS n
    );

-- Stores events and owes each to the enabled endpoints that asked for it, in the caller's transaction and with the
-- caller's rights: the app inside a workspace transaction, or a definer function for several workspaces at once.
-- Returns the ids in the order of the arguments.
CREATE FUNCTION publish_events(workspaces text[], types text[], datas jsonb[]) RETURNS text[]
    LANGUAGE plpgsql AS $$
DECLARE
    ids text[];
BEGIN
    WITH fresh AS MATERIALIZED (
        SELECT n, workspace, type, data, new_id('evt') AS id
        FROM unnest(workspaces, types, datas) WITH ORDINALITY AS given (workspace, type, data, n)
    ), stored AS (
        INSERT INTO events (workspace_id, event_id, type, body)
        SELECT workspace, id, type, event_body(id, type, workspace, clock_timestamp(), data) FROM fresh
    )
    SELECT array_agg(id ORDER BY n) INTO ids FROM fresh;

    INSERT INTO webhook_deliveries (workspace_id, delivery_id, event_id, event_type, webhook_id)
    SELECT w.workspace_id, new_id('dlv'), given.id, given.type, w.webhook_id
    FROM unnest(workspaces, types, ids) AS given (workspace, type, id)
    JOIN webhooks w ON w.workspace_id = given.workspace AND w.status = 'enabled'
    WHERE w.events && patterns_for(given.type);
    IF FOUND THEN
        PERFORM pg_notify('parley_deliveries', '');
    END IF;
    RETURN ids;
END $$;

CREATE FUNCTION publish_event(workspace text, event_type text, data jsonb) RETURNS text
    LANGUAGE sql VOLATILE
    RETURN (publish_events(ARRAY[workspace], ARRAY[event_type], ARRAY[data]))[1];

-- A loose index scan: one probe for each endpoint that waits for first tries and one for each that waits for retries,
-- however many rows stand behind it.
CREATE FUNCTION waiting_endpoints() RETURNS TABLE (retry boolean, webhook_id text, due_at timestamptz)
    LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH RECURSIVE found AS (
        (SELECT d.retry, d.webhook_id, d.due_at FROM webhook_deliveries d
         WHERE d.status = 'pending' ORDER BY d.retry, d.webhook_id, d.due_at LIMIT 1)
        UNION ALL
        SELECT next.* FROM found CROSS JOIN LATERAL (
            SELECT d.retry, d.webhook_id, d.due_at FROM webhook_deliveries d
            WHERE d.status = 'pending' AND (d.retry, d.webhook_id) > (found.retry, found.webhook_id)
            ORDER BY d.retry, d.webhook_id, d.due_at LIMIT 1) AS next
    )
    SELECT found.retry, found.webhook_id, found.due_at FROM found;
END;

-- Leases due deliveries to the holder of `token`. First tries and retries have limits of their own, so neither can
-- starve the other. Each endpoint may hold `per_endpoint` leases over all workers (an eighth while it fails) and gets its
-- first row before any other gets a second; `share` keeps the number of rows looked at near the number wanted. Two
-- callers at once may overshoot the cap; they never share a row.
CREATE FUNCTION claim_deliveries(
    first_limit integer, retry_limit integer, per_endpoint integer, token text, lease_seconds double precision
) RETURNS TABLE (
    workspace_id text, delivery_id text, event_id text, webhook_id text, attempt integer, url text,
    sealed_secrets bytea[], body bytea
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH due_endpoints AS MATERIALIZED (
        SELECT waiting.retry, waiting.webhook_id,
            CASE WHEN w.failing_since IS NULL THEN per_endpoint ELSE greatest(1, per_endpoint / 8) END - (
                SELECT count(*) FROM webhook_deliveries held
                WHERE held.status = 'leased' AND held.webhook_id = waiting.webhook_id
            ) AS room
        FROM waiting_endpoints() AS waiting
        JOIN webhooks w ON w.webhook_id = waiting.webhook_id AND w.status = 'enabled'
        WHERE waiting.due_at <= now()
    ), runnable AS MATERIALIZED (
        SELECT *, ceil(2.0 * CASE WHEN retry THEN retry_limit ELSE first_limit END
                       / count(*) OVER (PARTITION BY retry))::bigint AS share
        FROM due_endpoints WHERE room > 0
    ), candidates AS MATERIALIZED (
        SELECT runnable.retry, due.*
        FROM runnable CROSS JOIN LATERAL (
            SELECT d.workspace_id, d.delivery_id, d.due_at, row_number() OVER (ORDER BY d.due_at) AS turn
            FROM webhook_deliveries d
            WHERE d.status = 'pending' AND d.retry = runnable.retry AND d.webhook_id = runnable.webhook_id
                AND d.due_at <= now()
            ORDER BY d.due_at LIMIT least(runnable.room, runnable.share)
        ) AS due
    ), first_tries AS MATERIALIZED (
        SELECT d.workspace_id, d.delivery_id FROM candidates c
        JOIN webhook_deliveries d USING (workspace_id, delivery_id)
        WHERE NOT c.retry AND d.lease_token IS NULL AND d.settled_at IS NULL
        ORDER BY c.turn, c.due_at LIMIT first_limit FOR UPDATE OF d SKIP LOCKED
    ), retries AS MATERIALIZED (
        SELECT d.workspace_id, d.delivery_id FROM candidates c
        JOIN webhook_deliveries d USING (workspace_id, delivery_id)
        WHERE c.retry AND d.lease_token IS NULL AND d.settled_at IS NULL
        ORDER BY c.turn, c.due_at LIMIT retry_limit FOR UPDATE OF d SKIP LOCKED
    ), leased AS (
        UPDATE webhook_deliveries d
        SET status = 'leased', attempts = d.attempts + 1, lease_token = token,
            lease_until = now() + make_interval(secs => lease_seconds)
        FROM (SELECT * FROM first_tries UNION ALL SELECT * FROM retries) AS taken
        WHERE d.workspace_id = taken.workspace_id AND d.delivery_id = taken.delivery_id
        RETURNING d.workspace_id, d.delivery_id, d.event_id, d.webhook_id, d.attempts
    )
    SELECT leased.workspace_id, leased.delivery_id, leased.event_id, leased.webhook_id, leased.attempts, w.url,
        ARRAY(SELECT s.sealed FROM webhook_secrets s
              WHERE s.workspace_id = leased.workspace_id AND s.webhook_id = leased.webhook_id
                  AND (s.expires_at IS NULL OR s.expires_at > now())
              ORDER BY s.created_at DESC),
        e.body
    FROM leased
    JOIN webhooks w ON w.workspace_id = leased.workspace_id AND w.webhook_id = leased.webhook_id
    JOIN events e ON e.workspace_id = leased.workspace_id AND e.event_id = leased.event_id;
END $$;

-- Puts an endpoint out of use and tells the workspace. Does nothing to one that is already disabled.
CREATE FUNCTION disable_webhook(workspace text, webhook text, reason text) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    address text;
BEGIN
    UPDATE webhooks w SET status = 'disabled', disabled_reason = reason, updated_at = now()
    WHERE w.workspace_id = workspace AND w.webhook_id = webhook AND w.status = 'enabled'
    RETURNING w.url INTO address;
    IF FOUND THEN
        PERFORM publish_event(workspace, 'webhook.disabled',
            jsonb_build_object('webhook_id', webhook, 'url', address, 'reason', reason));
    END IF;
END $$;

-- Settles deliveries whose token still holds and logs the attempts of exactly those, all or nothing. `next_due` is NULL
-- for a settled delivery; `disable` names why the endpoint has to go, or is ''. Returns the rows that were applied:
-- what is missing belongs to somebody else by now.
CREATE FUNCTION record_deliveries(
    workspaces text[], deliveries text[], tokens text[], statuses text[], next_due double precision[],
    started double precision[], durations integer[], status_codes integer[], error_codes text[], details text[],
    headers text[], responses bytea[], cuts boolean[], disable text[]
) RETURNS TABLE (delivery_id text)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    applied text[];
    gone record;
BEGIN
    WITH result AS MATERIALIZED (
        SELECT * FROM unnest(workspaces, deliveries, tokens, statuses, next_due, started, durations, status_codes,
            error_codes, details, headers, responses, cuts)
            AS r (workspace, delivery, token, status, due, started, duration, code, error, detail, headers, response, cut)
    ), settled AS (
        UPDATE webhook_deliveries d
        SET status = r.status, due_at = coalesce(to_timestamp(r.due), d.due_at), lease_token = NULL,
            lease_until = NULL, settled_at = CASE WHEN r.due IS NULL THEN now() END
        FROM result r
        WHERE d.workspace_id = r.workspace AND d.delivery_id = r.delivery AND d.lease_token = r.token
        RETURNING d.workspace_id, d.delivery_id, d.attempts, r.*
    ), logged AS (
        INSERT INTO webhook_attempts (workspace_id, delivery_id, attempt, started_at, duration_ms, status_code,
            error_code, detail, response_headers, response, truncated, next_attempt_at)
        SELECT s.workspace_id, s.delivery_id, s.attempts, to_timestamp(s.started), s.duration, s.code, s.error,
            s.detail, s.headers::jsonb, s.response, s.cut, to_timestamp(s.due)
        FROM settled s
    )
    SELECT array_agg(settled.delivery_id) INTO applied FROM settled;

    PERFORM note_health(workspaces, deliveries, statuses, applied);
    FOR gone IN
        SELECT DISTINCT d.workspace_id, d.webhook_id, r.reason
        FROM unnest(workspaces, deliveries, disable) AS r (workspace, delivery, reason)
        JOIN webhook_deliveries d ON d.workspace_id = r.workspace AND d.delivery_id = r.delivery
        WHERE r.reason <> '' AND r.delivery = ANY (applied)
        ORDER BY d.webhook_id
    LOOP
        PERFORM disable_webhook(gone.workspace_id, gone.webhook_id, gone.reason);
    END LOOP;
    RETURN QUERY SELECT unnest(applied);
END $$;

-- Keeps `failing_since`: set by failures with no success beside them, cleared by a success. Writes only on a change, and
-- locks in one order, so that workers do not wait for each other in a circle.
CREATE FUNCTION note_health(workspaces text[], deliveries text[], statuses text[], applied text[]) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    WITH seen AS (
        SELECT d.workspace_id, d.webhook_id, bool_or(r.status = 'delivered') AS well
        FROM unnest(workspaces, deliveries, statuses) AS r (workspace, delivery, status)
        JOIN webhook_deliveries d ON d.workspace_id = r.workspace AND d.delivery_id = r.delivery
        WHERE r.delivery = ANY (applied)
        GROUP BY 1, 2
    ), changed AS (
        SELECT w.workspace_id, w.webhook_id, seen.well FROM webhooks w JOIN seen USING (workspace_id, webhook_id)
        WHERE (w.failing_since IS NULL) <> seen.well
        ORDER BY w.webhook_id FOR NO KEY UPDATE OF w
    )
    UPDATE webhooks w SET failing_since = CASE WHEN changed.well THEN NULL ELSE now() END
    FROM changed WHERE w.workspace_id = changed.workspace_id AND w.webhook_id = changed.webhook_id;
END $$;

-- Hands back what was claimed and never sent, without the attempt that the claim had taken.
CREATE FUNCTION release_deliveries(workspaces text[], deliveries text[], tokens text[]) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    released integer;
BEGIN
    UPDATE webhook_deliveries d
    SET status = 'pending', attempts = d.attempts - 1, lease_token = NULL, lease_until = NULL
    FROM unnest(workspaces, deliveries, tokens) AS r (workspace, delivery, token)
    WHERE d.workspace_id = r.workspace AND d.delivery_id = r.delivery AND d.lease_token = r.token;
    GET DIAGNOSTICS released = ROW_COUNT;
    PERFORM pg_notify('parley_deliveries', '');
    RETURN released;
END $$;

-- Takes back leases that ran out: the try may have reached the receiver, so it is logged with an unknown outcome and the
-- delivery is due again at once, until its tries are used up. Also cancels what is owed to endpoints that are gone.
CREATE FUNCTION sweep_deliveries(max_attempts integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    reaped integer;
BEGIN
    WITH expired AS MATERIALIZED (
        SELECT d.workspace_id, d.delivery_id, d.lease_until FROM webhook_deliveries d
        WHERE d.status = 'leased' AND d.lease_until < now()
        FOR UPDATE SKIP LOCKED
    ), taken_back AS (
        UPDATE webhook_deliveries d
        SET status = CASE WHEN d.attempts < max_attempts THEN 'pending' ELSE 'exhausted' END, due_at = now(),
            lease_token = NULL, lease_until = NULL,
            settled_at = CASE WHEN d.attempts < max_attempts THEN NULL ELSE now() END
        FROM expired x WHERE d.workspace_id = x.workspace_id AND d.delivery_id = x.delivery_id
        RETURNING d.workspace_id, d.delivery_id, d.attempts, d.status
    )
    INSERT INTO webhook_attempts (workspace_id, delivery_id, attempt, started_at, duration_ms, error_code, detail,
        next_attempt_at)
    SELECT t.workspace_id, t.delivery_id, t.attempts, now(), 0, 'unknown_outcome',
        'the sender stopped before it could note what came of this try',
        CASE WHEN t.status = 'pending' THEN now() END
    FROM taken_back t;
    GET DIAGNOSTICS reaped = ROW_COUNT;

    UPDATE webhook_deliveries d SET status = 'cancelled', settled_at = now()
    FROM waiting_endpoints() AS waiting
    WHERE NOT EXISTS (SELECT FROM webhooks w WHERE w.webhook_id = waiting.webhook_id)
        AND d.status = 'pending' AND d.retry = waiting.retry AND d.webhook_id = waiting.webhook_id;
    RETURN reaped;
END $$;

-- Seconds until the next delivery is due or the next lease runs out, not below 0; NULL when nothing waits.
CREATE FUNCTION next_due() RETURNS double precision
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT greatest(0, extract(epoch FROM first - now())::double precision)
    FROM (SELECT least(
        (SELECT min(waiting.due_at) FROM waiting_endpoints() AS waiting
         JOIN webhooks w ON w.webhook_id = waiting.webhook_id AND w.status = 'enabled'),
        (SELECT min(d.lease_until) FROM webhook_deliveries d WHERE d.status = 'leased')
    ) AS first) AS soonest
    WHERE first IS NOT NULL;
END;

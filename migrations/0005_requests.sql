-- Requests: repeats of unsafe calls, what operators look at, and the few look-ups of the HTTP face that span workspaces.

-- One row per Idempotency-Key and route. `origin` names the call over all its tries; `token` and `lease_until` fence the
-- try under way; `sealed` is the stored answer, sealed because it may hold a secret that is shown once.
CREATE TABLE idempotency_keys (
    workspace_id text NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    origin text NOT NULL,
    token text NOT NULL,
    lease_until timestamptz NOT NULL,
    status integer,
    sealed bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, route, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
CALL protect('idempotency_keys');

CREATE FUNCTION forget_idempotency_keys(age interval, most integer) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    WITH gone AS (
        DELETE FROM idempotency_keys k USING (
            SELECT i.workspace_id, i.route, i.key FROM idempotency_keys i
            WHERE i.created_at < now() - age ORDER BY i.created_at LIMIT most) AS old
        WHERE k.workspace_id = old.workspace_id AND k.route = old.route AND k.key = old.key
        RETURNING 1
    )
    SELECT count(*) FROM gone;
END;

-- Sends that wait for a person's decision.
CREATE INDEX outbound_undecided ON outbound_messages (workspace_id, state, seq) WHERE state IN ('unknown', 'failed');

-- Which of these streams have something new: numbers of the arrays' entries. One statement for all streams of a process.
CREATE FUNCTION streams_with_news(workspaces text[], conversation_ids text[], seen bigint[])
    RETURNS SETOF bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT s.n FROM unnest(workspaces, conversation_ids, seen) WITH ORDINALITY AS s (ws, conversation, seq, n)
    WHERE EXISTS (SELECT FROM messages m
                  WHERE m.workspace_id = s.ws AND m.conversation_id = s.conversation AND m.seq > s.seq);
END;

-- The messages that each of these streams has not seen yet, at most `most` each, in order.
CREATE FUNCTION stream_messages(workspaces text[], conversation_ids text[], seen bigint[], most integer)
    RETURNS TABLE (n bigint, seq bigint, message_id text, session_id text, turn_id text, role text, text text,
                   citations jsonb, created_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT s.n, m.seq, m.message_id, m.session_id, m.turn_id, m.role, m.text, m.citations, m.created_at
    FROM unnest(workspaces, conversation_ids, seen) WITH ORDINALITY AS s (ws, conversation, seq, n)
    CROSS JOIN LATERAL (
        SELECT * FROM messages i
        WHERE i.workspace_id = s.ws AND i.conversation_id = s.conversation AND i.seq > s.seq
        ORDER BY i.seq LIMIT most) AS m
    ORDER BY s.n, m.seq;
END;

CREATE FUNCTION organization_of(workspace text) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT o.slug FROM workspaces w JOIN organizations o USING (organization_id) WHERE w.workspace_id = workspace;
END;

CREATE FUNCTION organization_workspaces(workspace text) RETURNS SETOF workspaces
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT other.* FROM workspaces own JOIN workspaces other USING (organization_id) WHERE own.workspace_id = workspace;
END;

-- For the metrics page: how much waits, counted up to `most`, and the age of the oldest in seconds.
CREATE FUNCTION queue_depths(most integer) RETURNS TABLE (queue text, depth bigint, oldest double precision)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT 'updates', count(*), coalesce(extract(epoch FROM now() - min(q.at)), 0)::double precision
    FROM (SELECT u.received_at AS at FROM inbound_updates u WHERE u.status = 'pending'
          ORDER BY u.received_at LIMIT most) q
    UNION ALL
    SELECT 'outbound', count(*), greatest(0, coalesce(extract(epoch FROM now() - min(q.at)), 0))::double precision
    FROM (SELECT o.due_at AS at FROM outbound_messages o WHERE o.state = 'pending' ORDER BY o.due_at LIMIT most) q
    UNION ALL
    SELECT 'outbound_unknown', count(*), coalesce(extract(epoch FROM now() - min(q.at)), 0)::double precision
    FROM (SELECT o.created_at AS at FROM outbound_messages o WHERE o.state = 'unknown' LIMIT most) q
    UNION ALL
    SELECT 'deliveries', count(*), greatest(0, coalesce(extract(epoch FROM now() - min(q.at)), 0))::double precision
    FROM (SELECT d.due_at AS at FROM webhook_deliveries d WHERE d.status = 'pending' LIMIT most) q;
END;

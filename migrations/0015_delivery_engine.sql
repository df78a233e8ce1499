-- Claims, breakers, limits and order.
--
-- Deliveries are claimed in stages, each with a limit of its own, so that none starves another: first tries (0), retries (1),
-- late retries (2) and probes of endpoints that disabled themselves (3). What is parked waits for another delivery of its
-- lane; a lane is one conversation of an endpoint that asked for order.

DROP FUNCTION next_due();
DROP FUNCTION waiting_endpoints();
DROP INDEX webhook_deliveries_pending;

ALTER TABLE webhook_deliveries
    DROP COLUMN retry,
    ADD COLUMN probe boolean NOT NULL DEFAULT false,
    ADD COLUMN stage smallint NOT NULL GENERATED ALWAYS AS (
        CASE WHEN probe THEN 3 WHEN attempts = 0 THEN 0 WHEN attempts < 4 THEN 1 ELSE 2 END) STORED,
    ADD COLUMN parked boolean NOT NULL DEFAULT false,
    -- Ids of one millisecond stand in no order.
    ADD COLUMN position bigint NOT NULL GENERATED ALWAYS AS IDENTITY;
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (stage, webhook_id, due_at, position)
    WHERE status = 'pending' AND NOT parked;
-- A lane in its order: what has a number first, the rest as it came.
CREATE INDEX webhook_deliveries_lanes ON webhook_deliveries (webhook_id, ordering_key, seq, position)
    WHERE ordering_key <> '';

-- How many deliveries of a lane have been tried so far: `seq` has no gaps, so a receiver can tell that one is missing.
CREATE TABLE webhook_lanes (
    workspace_id text NOT NULL,
    webhook_id text NOT NULL,
    ordering_key text NOT NULL,
    last_seq bigint NOT NULL,
    PRIMARY KEY (workspace_id, webhook_id, ordering_key),
    FOREIGN KEY (workspace_id, webhook_id) REFERENCES webhooks ON DELETE CASCADE
);
CALL protect('webhook_lanes', 'SELECT');

ALTER TABLE webhook_health
    ADD COLUMN last_failed_at timestamptz,
    ADD COLUMN closed_at timestamptz,
    -- Whether `webhook.failing` was told of this trouble, and when it was told last.
    ADD COLUMN told boolean NOT NULL DEFAULT false,
    ADD COLUMN told_at timestamptz,
    -- When an endpoint that disabled itself is asked again whether it is well.
    ADD COLUMN probe_at timestamptz;
CREATE INDEX webhook_health_probes ON webhook_health (probe_at) WHERE probe_at IS NOT NULL;
INSERT INTO webhook_health (workspace_id, webhook_id, failing_since, streak, last_failed_at)
SELECT workspace_id, webhook_id, failing_since, 1, now() FROM webhooks WHERE failing_since IS NOT NULL;
UPDATE webhooks SET failing_since = NULL WHERE failing_since IS NOT NULL;

-- Seconds between tries of one event: what the endpoint says for the most exact pattern of its type, else for all; NULL
-- is the usual schedule.
CREATE FUNCTION schedule_of(w webhooks, event_type text) RETURNS integer[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN w.schedules = '{}' THEN w.schedule ELSE coalesce(
        (SELECT ARRAY(SELECT wait::integer FROM jsonb_array_elements_text(s.value) WITH ORDINALITY AS waits (wait, n)
                      ORDER BY n)
         FROM jsonb_each(w.schedules) AS s WHERE s.key = ANY (patterns_for(event_type))
         ORDER BY s.key = event_type DESC, length(s.key) DESC, s.key LIMIT 1),
        w.schedule) END;

-- A loose index scan: one probe for each endpoint and stage in which something waits, however many rows stand behind it.
CREATE FUNCTION waiting_endpoints() RETURNS TABLE (stage smallint, webhook_id text, due_at timestamptz)
    LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH RECURSIVE found AS (
        (SELECT d.stage, d.webhook_id, d.due_at FROM webhook_deliveries d
         WHERE d.status = 'pending' AND NOT d.parked ORDER BY d.stage, d.webhook_id, d.due_at LIMIT 1)
        UNION ALL
        SELECT next.* FROM found CROSS JOIN LATERAL (
            SELECT d.stage, d.webhook_id, d.due_at FROM webhook_deliveries d
            WHERE d.status = 'pending' AND NOT d.parked AND (d.stage, d.webhook_id) > (found.stage, found.webhook_id)
            ORDER BY d.stage, d.webhook_id, d.due_at LIMIT 1) AS next
    )
    SELECT found.stage, found.webhook_id, found.due_at FROM found;
END;

-- Whether something else of its lane has to come first: whatever is under way, and what stands before it. Where the
-- endpoint would rather skip, what has failed four times holds up nobody.
CREATE FUNCTION lane_is_busy(webhook text, lane text, delivery text, skips boolean) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN delivery <> (
        SELECT o.delivery_id FROM webhook_deliveries o
        WHERE o.webhook_id = webhook AND o.ordering_key = lane AND o.ordering_key <> ''
            AND NOT (skips AND o.attempts - (o.lease_token IS NOT NULL)::integer >= 4)
        ORDER BY o.seq, o.position LIMIT 1
    ) OR EXISTS (
        SELECT FROM webhook_deliveries o
        WHERE o.status = 'leased' AND o.webhook_id = webhook AND o.ordering_key = lane AND o.delivery_id <> delivery
            AND NOT (skips AND o.attempts > 4)
    );

-- When a delivery is let go, the first of its lane that is parked is looked at again.
CREATE FUNCTION wake_lane() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    SET enable_seqscan = off AS $$
BEGIN
    UPDATE webhook_deliveries d SET parked = false
    FROM (
        SELECT n.workspace_id, n.delivery_id FROM webhook_deliveries n
        WHERE n.webhook_id = OLD.webhook_id AND n.ordering_key = OLD.ordering_key AND n.ordering_key <> '' AND n.parked
        ORDER BY n.seq, n.position LIMIT 1
    ) AS next
    WHERE d.workspace_id = next.workspace_id AND d.delivery_id = next.delivery_id;
    RETURN NULL;
END $$;
CREATE TRIGGER lanes_move_on AFTER DELETE ON webhook_deliveries
    FOR EACH ROW WHEN (OLD.ordering_key <> '') EXECUTE FUNCTION wake_lane();
CREATE TRIGGER lanes_are_let_go AFTER UPDATE OF lease_token ON webhook_deliveries
    FOR EACH ROW WHEN (OLD.ordering_key <> '' AND OLD.lease_token IS NOT NULL AND NEW.lease_token IS NULL)
    EXECUTE FUNCTION wake_lane();

-- Once in a while the first of each lane that is parked is looked at again, whatever may have gone wrong. Returns how
-- many.
CREATE FUNCTION unpark_deliveries() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    woken integer;
BEGIN
    UPDATE webhook_deliveries d SET parked = false
    FROM (SELECT DISTINCT ON (p.webhook_id, p.ordering_key) p.workspace_id, p.delivery_id FROM webhook_deliveries p
          WHERE p.parked AND p.ordering_key <> '' ORDER BY p.webhook_id, p.ordering_key, p.seq, p.position) AS first
    WHERE d.workspace_id = first.workspace_id AND d.delivery_id = first.delivery_id AND d.parked
        AND d.lease_token IS NULL;
    GET DIAGNOSTICS woken = ROW_COUNT;
    RETURN woken;
END $$;

CREATE TYPE claimable AS (
    workspace_id text,
    delivery_id text,
    busy boolean,
    skips boolean
);

-- Parks deliveries that found their lane busy. What one of them waits for is locked meanwhile, so it cannot be let go by
-- somebody who does not see yet that there is something to wake; where that one is just being let go, nothing is parked.
CREATE FUNCTION park_deliveries(candidates claimable[]) RETURNS integer
    LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    parked integer;
BEGIN
    WITH waiting AS MATERIALIZED (
        SELECT d.workspace_id, d.delivery_id
        FROM unnest(candidates) AS c
        JOIN webhook_deliveries d ON d.workspace_id = c.workspace_id AND d.delivery_id = c.delivery_id
        CROSS JOIN LATERAL (
            SELECT FROM webhook_deliveries o
            WHERE o.webhook_id = d.webhook_id AND o.ordering_key = d.ordering_key AND o.ordering_key <> ''
                AND (o.lease_token IS NOT NULL
                     OR (coalesce(o.seq, 1e18), o.position) < (coalesce(d.seq, 1e18), d.position))
                AND o.delivery_id <> d.delivery_id
                AND NOT (c.skips AND o.attempts - (o.lease_token IS NOT NULL)::integer >= 4)
            ORDER BY o.seq, o.position LIMIT 1 FOR NO KEY UPDATE OF o SKIP LOCKED
        ) AS before
        WHERE c.busy
    )
    UPDATE webhook_deliveries d SET parked = true
    FROM waiting w
    WHERE d.workspace_id = w.workspace_id AND d.delivery_id = w.delivery_id AND d.lease_token IS NULL
        AND d.settled_at IS NULL;
    GET DIAGNOSTICS parked = ROW_COUNT;
    RETURN parked;
END $$;

-- Leases due deliveries to the holder of `token`, each for its endpoint's timeout and `margin` seconds.
--
-- Each endpoint may hold `per_endpoint` leases over all workers or what it asks for, whichever is less: an eighth while it
-- fails, one when its breaker's pause has passed, none during the pause. It gets its first row before any other gets a
-- second; `share` keeps the number of rows looked at near the number wanted. `rooms` says of `subjects`, endpoints and
-- workspaces that have a limit in time, how many rows they may have now. An endpoint that is not named there starts with
-- half a second's worth, a workspace with `per_workspace`. Claims come one after the other, each sees the one before it,
-- so these numbers are exact. Who had to wait for long goes on without: some worker is frozen, and caps may be overshot.
--
-- What is the same for all rows of an endpoint stands in its first row only, and is NULL in the others. The bytes to send
-- come by `delivery_bodies`, after this has been committed: a worker that is frozen while it is being sent more than fits
-- between here and there would hold its locks for as long.
CREATE FUNCTION claim_deliveries(
    first_limit integer, retry_limit integer, late_limit integer, per_endpoint integer, per_workspace integer,
    token text, margin double precision, subjects text[], rooms integer[]
) RETURNS TABLE (
    workspace_id text, delivery_id text, event_id text, event_type text, webhook_id text, attempt integer, seq bigint,
    schedule integer[], own_body boolean,
    url text, timeout_seconds real, sealed_secrets bytea[], sealed_options bytea, rate_count integer,
    rate_seconds integer
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '1s'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    candidates claimable[];
    held_up integer := 0;
BEGIN
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('parley claims'));
    EXCEPTION WHEN lock_not_available THEN
        NULL;
    END;
    WITH limited AS MATERIALIZED (
        SELECT * FROM unnest(subjects, rooms) AS l (subject, room)
    ), due_endpoints AS MATERIALIZED (
        SELECT waiting.stage, w.workspace_id, w.webhook_id, w.ordering <> 'none' AS ordered, w.on_stuck = 'skip' AS skips,
            CASE waiting.stage WHEN 0 THEN first_limit WHEN 1 THEN retry_limit ELSE late_limit END AS wanted,
            coalesce((SELECT l.room FROM limited l WHERE l.subject = w.workspace_id), per_workspace, 1000000)
                AS workspace_room,
            least(
                CASE WHEN waiting.stage = 3 OR h.open_until IS NOT NULL THEN 1
                    WHEN h.failing_since IS NOT NULL THEN greatest(1, least(per_endpoint, w.max_in_flight) / 8)
                    ELSE least(per_endpoint, w.max_in_flight) END
                - (SELECT count(*) FROM webhook_deliveries held
                   WHERE held.status = 'leased' AND held.webhook_id = w.webhook_id),
                coalesce((SELECT l.room FROM limited l WHERE l.subject = w.webhook_id),
                    ceil(w.rate_count / 2.0 / w.rate_seconds)))::integer AS room
        FROM waiting_endpoints() AS waiting
        CROSS JOIN LATERAL (SELECT * FROM webhooks w WHERE w.webhook_id = waiting.webhook_id LIMIT 1) AS w
        LEFT JOIN webhook_health h ON h.workspace_id = w.workspace_id AND h.webhook_id = w.webhook_id
        WHERE waiting.due_at <= now() AND CASE
            WHEN waiting.stage = 3 THEN w.status = 'enabled' OR w.disabled_reason = 'failing'
            ELSE w.status = 'enabled' AND coalesce(h.open_until, '-infinity') <= now()
                AND coalesce(h.slow_until, '-infinity') <= now() END
    ), runnable AS MATERIALIZED (
        SELECT *, least(room, ceil(2.0 * wanted / count(*) OVER (PARTITION BY stage)))::integer AS share,
            dense_rank() OVER (ORDER BY webhook_id) AS hook, dense_rank() OVER (ORDER BY workspace_id) AS workspace
        FROM due_endpoints WHERE least(room, workspace_room, wanted) > 0
    ), looked_at AS MATERIALIZED (
        SELECT r.stage, r.workspace_id, r.wanted, r.room, r.workspace_room, r.skips, r.hook, r.workspace, due.*
        FROM runnable r CROSS JOIN LATERAL (
            SELECT d.delivery_id, d.due_at, d.position, row_number() OVER (ORDER BY d.due_at, d.position) AS turn,
                r.ordered AND d.ordering_key <> '' AND NOT (r.skips AND d.attempts >= 4)
                    AND lane_is_busy(d.webhook_id, d.ordering_key, d.delivery_id, r.skips) AS busy
            FROM webhook_deliveries d
            WHERE d.status = 'pending' AND NOT d.parked AND d.stage = r.stage AND d.webhook_id = r.webhook_id
                AND d.due_at <= now()
            ORDER BY d.due_at, d.position LIMIT r.share + CASE WHEN r.ordered THEN 192 ELSE 0 END
        ) AS due
    ), chosen AS (
        SELECT *, row_number() OVER (PARTITION BY hook ORDER BY turn, stage) AS nth,
            row_number() OVER (PARTITION BY workspace ORDER BY turn, due_at, position) AS nth_of_workspace
        FROM looked_at WHERE busy IS NOT TRUE
    ), ranked AS (
        SELECT *, row_number() OVER (PARTITION BY least(stage, 2) ORDER BY turn, due_at, position) AS nth_of_stage
        FROM chosen WHERE nth <= room AND nth_of_workspace <= workspace_room
    )
    SELECT array_agg(ROW(c.workspace_id, c.delivery_id, c.busy, c.skips)::claimable), count(*) FILTER (WHERE c.busy)
    INTO candidates, held_up
    FROM (SELECT workspace_id, delivery_id, busy, skips FROM ranked WHERE nth_of_stage <= wanted
          UNION ALL
          SELECT workspace_id, delivery_id, busy, skips FROM looked_at WHERE busy) AS c;

    -- What stood behind many that are parked has not been looked at.
    IF held_up > 0 AND park_deliveries(candidates) >= 64 THEN
        PERFORM pg_notify('parley_deliveries', '');
    END IF;

    RETURN QUERY
    WITH taken AS MATERIALIZED (
        SELECT d.workspace_id, d.delivery_id, d.webhook_id, d.ordering_key, d.seq
        FROM unnest(candidates) AS c
        JOIN webhook_deliveries d ON d.workspace_id = c.workspace_id AND d.delivery_id = c.delivery_id
        WHERE NOT c.busy AND d.lease_token IS NULL AND d.settled_at IS NULL
        FOR UPDATE OF d SKIP LOCKED
    ), counted AS (
        INSERT INTO webhook_lanes AS l (workspace_id, webhook_id, ordering_key, last_seq)
        SELECT t.workspace_id, t.webhook_id, t.ordering_key, 1 FROM taken t
        WHERE t.ordering_key <> '' AND t.seq IS NULL
        ON CONFLICT (workspace_id, webhook_id, ordering_key) DO UPDATE SET last_seq = l.last_seq + 1
        RETURNING l.workspace_id, l.webhook_id, l.ordering_key, l.last_seq
    ), leased AS (
        UPDATE webhook_deliveries d
        SET status = 'leased', attempts = d.attempts + 1, lease_token = token,
            lease_until = now() + make_interval(secs => w.timeout_seconds + margin),
            seq = coalesce(d.seq, n.last_seq)
        FROM taken t
        JOIN webhooks w ON w.webhook_id = t.webhook_id
        LEFT JOIN counted n ON n.workspace_id = t.workspace_id AND n.webhook_id = t.webhook_id
            AND n.ordering_key = t.ordering_key AND t.seq IS NULL
        WHERE d.workspace_id = t.workspace_id AND d.delivery_id = t.delivery_id
        RETURNING d.workspace_id, d.delivery_id, d.event_id, d.event_type, d.webhook_id, d.attempts, d.seq, d.probe,
            d.body IS NOT NULL AS own_body, d.position
    ), numbered AS (
        SELECT *, row_number() OVER (PARTITION BY webhook_id ORDER BY position) = 1 AS first FROM leased
    )
    SELECT n.workspace_id, n.delivery_id, n.event_id, n.event_type, n.webhook_id, n.attempts, n.seq,
        CASE WHEN n.probe THEN '{}' ELSE schedule_of(w, n.event_type) END,
        n.own_body,
        CASE WHEN n.first THEN w.url END,
        CASE WHEN n.first THEN w.timeout_seconds END,
        CASE WHEN n.first THEN ARRAY(
            SELECT s.sealed FROM webhook_secrets s
            WHERE s.workspace_id = n.workspace_id AND s.webhook_id = n.webhook_id
                AND (s.expires_at IS NULL OR s.expires_at > now())
            ORDER BY s.created_at DESC) END,
        CASE WHEN n.first THEN w.sealed_options END,
        CASE WHEN n.first THEN w.rate_count END,
        CASE WHEN n.first THEN w.rate_seconds END
    FROM numbered n
    JOIN webhooks w ON w.webhook_id = n.webhook_id;
END $$;

-- The bytes to send, in the order of the arguments; NULL for what is gone. `ids` are those of the deliveries that have bytes
-- of their own, and of the events for the others.
CREATE FUNCTION delivery_bodies(workspaces text[], ids text[], own boolean[]) RETURNS TABLE (body bytea)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
BEGIN ATOMIC
    SELECT CASE WHEN wanted.own
        THEN (SELECT d.body FROM webhook_deliveries d
              WHERE d.workspace_id = wanted.workspace AND d.delivery_id = wanted.id)
        ELSE (SELECT e.body FROM events e WHERE e.workspace_id = wanted.workspace AND e.event_id = wanted.id) END
    FROM unnest(workspaces, ids, own) WITH ORDINALITY AS wanted (workspace, id, own, n) ORDER BY wanted.n;
END;

-- For workers of the version before; goes with the next one.
CREATE OR REPLACE FUNCTION claim_deliveries(
    first_limit integer, retry_limit integer, per_endpoint integer, token text, lease_seconds double precision
) RETURNS TABLE (
    workspace_id text, delivery_id text, event_id text, webhook_id text, attempt integer, url text,
    sealed_secrets bytea[], body bytea
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT c.workspace_id, c.delivery_id, c.event_id, c.webhook_id, c.attempt, w.url,
        ARRAY(SELECT s.sealed FROM webhook_secrets s
              WHERE s.workspace_id = c.workspace_id AND s.webhook_id = c.webhook_id
                  AND (s.expires_at IS NULL OR s.expires_at > now())
              ORDER BY s.created_at DESC),
        (SELECT b.body FROM delivery_bodies(ARRAY[c.workspace_id],
            ARRAY[CASE WHEN c.own_body THEN c.delivery_id ELSE c.event_id END], ARRAY[c.own_body]) AS b)
    FROM claim_deliveries(first_limit, retry_limit, 0, per_endpoint, NULL, token, lease_seconds, '{}', '{}') AS c
    JOIN webhooks w ON w.workspace_id = c.workspace_id AND w.webhook_id = c.webhook_id;
END $$;

-- How events tell a time.
CREATE FUNCTION told_time(at timestamptz) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');

-- What an event about a delivery holds.
CREATE FUNCTION told_try(t recorded_try, address text) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN jsonb_build_object('webhook_id', t.webhook_id, 'url', address, 'delivery_id', t.delivery_id,
        'event_id', t.event_id, 'event_type', t.event_type, 'attempts', t.attempt, 'status_code', t.status_code,
        'error_code', t.error_code);

-- Nothing is told of the deliveries of what was told: two endpoints that hear of each other would never come to an end.
CREATE FUNCTION is_told_of(event_type text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN event_type <> 'ping' AND event_type NOT LIKE 'webhook.%' AND event_type NOT LIKE 'delivery.%';

CREATE FUNCTION tell_exhausted(tries recorded_try[]) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM publish_events(array_agg(t.workspace_id), array_agg('delivery.exhausted'::text),
        array_agg(told_try((t.workspace_id, t.delivery_id, t.event_id, t.event_type, t.webhook_id, t.attempt, t.status,
            t.due, t.status_code, t.error_code, t.disable)::recorded_try, w.url)))
    FROM unnest(tries) AS t JOIN webhooks w ON w.workspace_id = t.workspace_id AND w.webhook_id = t.webhook_id
    WHERE t.status = 'exhausted' AND is_told_of(t.event_type)
    HAVING count(*) > 0;
END $$;

-- Puts an endpoint out of use and tells the workspace, once. One that was put out of use because it failed is probed
-- every hour, until somebody else puts it out of use.
CREATE OR REPLACE FUNCTION disable_webhook(workspace text, webhook text, reason text) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    was record;
BEGIN
    SELECT w.url, w.status, w.disabled_reason INTO was FROM webhooks w
    WHERE w.workspace_id = workspace AND w.webhook_id = webhook FOR NO KEY UPDATE;
    IF was.status = 'enabled' OR (was.disabled_reason = 'failing' AND reason <> 'failing') THEN
        UPDATE webhooks w SET status = 'disabled', disabled_reason = reason, updated_at = now()
        WHERE w.workspace_id = workspace AND w.webhook_id = webhook;
        UPDATE webhook_health h SET probe_at = CASE reason WHEN 'failing' THEN now() + interval '1 hour' END
        WHERE h.workspace_id = workspace AND h.webhook_id = webhook;
    END IF;
    IF was.status = 'enabled' THEN
        PERFORM publish_event(workspace, 'webhook.disabled',
            jsonb_build_object('webhook_id', webhook, 'url', was.url, 'reason', reason));
    END IF;
END $$;

-- An endpoint that had disabled itself has taken something. What it is owed goes out.
CREATE FUNCTION enable_again(workspace text, webhook text) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    address text;
BEGIN
    UPDATE webhooks w SET status = 'enabled', disabled_reason = '', enabled_at = now(), updated_at = now()
    WHERE w.workspace_id = workspace AND w.webhook_id = webhook AND w.status = 'disabled'
        AND w.disabled_reason = 'failing'
    RETURNING w.url INTO address;
    IF FOUND THEN
        PERFORM publish_event(workspace, 'webhook.enabled',
            jsonb_build_object('webhook_id', webhook, 'url', address, 'reason', 'it answered a probe'));
        PERFORM pg_notify('parley_deliveries', '');
    END IF;
END $$;

-- Notes how endpoints fare: failures in a row, and since when nothing succeeded (set by failures with no success beside
-- them). A success ends every trouble. A failure that nothing followed for ten days says nothing any more. Endpoints that
-- are well cost nothing here. Rows are locked in one order, and `webhooks` before `webhook_health`, so that nobody waits
-- in a circle. What fails for a reason of ours is held against nobody.
CREATE OR REPLACE FUNCTION note_health(tries recorded_try[]) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    seen record;
    h webhook_health;
    since timestamptz;
    fourth recorded_try;
BEGIN
    FOR seen IN
        SELECT w.workspace_id, w.webhook_id, w.url, w.status, e.well, e.streak
        FROM (SELECT t.workspace_id, t.webhook_id, bool_or(t.status = 'delivered') AS well,
                  count(*) FILTER (WHERE t.status <> 'delivered' AND t.n > t.last_well) AS streak
              FROM (SELECT *, coalesce(max(n) FILTER (WHERE status = 'delivered')
                        OVER (PARTITION BY workspace_id, webhook_id), 0) AS last_well
                    FROM unnest(tries) WITH ORDINALITY AS t (workspace_id, delivery_id, event_id, event_type,
                        webhook_id, attempt, status, due, status_code, error_code, disable, n)
                    WHERE NOT our_fault(error_code)) AS t
              GROUP BY 1, 2) AS e
        JOIN webhooks w ON w.workspace_id = e.workspace_id AND w.webhook_id = e.webhook_id
        LEFT JOIN webhook_health k ON k.workspace_id = e.workspace_id AND k.webhook_id = e.webhook_id
        WHERE e.streak > 0 OR k.streak > 0 OR k.failing_since IS NOT NULL OR k.open_until IS NOT NULL
        ORDER BY w.webhook_id FOR NO KEY UPDATE OF w
    LOOP
        SELECT * INTO h FROM webhook_health k
        WHERE k.workspace_id = seen.workspace_id AND k.webhook_id = seen.webhook_id;
        since := CASE WHEN seen.well THEN NULL
            WHEN h.last_failed_at > now() - interval '10 days' THEN coalesce(h.failing_since, now())
            ELSE now() END;
        INSERT INTO webhook_health AS k (workspace_id, webhook_id, streak, failing_since, last_failed_at)
        VALUES (seen.workspace_id, seen.webhook_id, seen.streak, since, CASE WHEN seen.streak > 0 THEN now() END)
        ON CONFLICT (workspace_id, webhook_id) DO UPDATE
        SET streak = CASE WHEN seen.well THEN 0 ELSE k.streak END + seen.streak, failing_since = since,
            last_failed_at = coalesce(excluded.last_failed_at, k.last_failed_at),
            open_until = CASE WHEN NOT seen.well THEN k.open_until END,
            opened = CASE WHEN seen.well THEN 0 ELSE k.opened END,
            closed_at = CASE WHEN seen.well AND k.open_until IS NOT NULL THEN now() ELSE k.closed_at END,
            warned = CASE WHEN since = k.failing_since THEN k.warned ELSE 0 END,
            told = k.told AND NOT seen.well;
        IF seen.well AND (h.told OR h.warned > 0) THEN
            PERFORM publish_event(seen.workspace_id, 'webhook.recovered', jsonb_build_object(
                'webhook_id', seen.webhook_id, 'url', seen.url, 'failing_since', told_time(h.failing_since)));
        END IF;
        IF seen.well AND seen.status = 'disabled' THEN
            PERFORM enable_again(seen.workspace_id, seen.webhook_id);
        ELSIF NOT seen.well AND NOT coalesce(h.told, false)
            AND coalesce(h.told_at < now() - interval '1 hour', true) THEN
            SELECT * INTO fourth FROM unnest(tries) AS t
            WHERE t.workspace_id = seen.workspace_id AND t.webhook_id = seen.webhook_id AND t.attempt >= 4
                AND t.status <> 'delivered' AND is_told_of(t.event_type)
            LIMIT 1;
            IF FOUND THEN
                UPDATE webhook_health k SET told = true, told_at = now()
                WHERE k.workspace_id = seen.workspace_id AND k.webhook_id = seen.webhook_id;
                PERFORM publish_event(seen.workspace_id, 'webhook.failing',
                    told_try(fourth, seen.url) || jsonb_build_object('next_attempt_at', told_time(fourth.due)));
            END IF;
        END IF;
    END LOOP;
    PERFORM tell_exhausted(tries);
END $$;

-- How the enabled ones of these endpoints fare, where something failed: `succeeded` and `failed` are the tries of the
-- last five minutes since their breakers closed and they were enabled. Times are epoch seconds.
CREATE FUNCTION troubled_webhooks(ids text[]) RETURNS TABLE (
    workspace_id text, webhook_id text, failing_since double precision, streak integer, succeeded bigint, failed bigint,
    open_until double precision, opened integer, warned integer
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
BEGIN ATOMIC
    SELECT h.workspace_id, h.webhook_id, extract(epoch FROM h.failing_since)::double precision, h.streak, m.succeeded,
        m.failed, extract(epoch FROM h.open_until)::double precision, h.opened, h.warned
    FROM unnest(ids) AS wanted
    JOIN webhooks w ON w.webhook_id = wanted AND w.status = 'enabled'
    JOIN webhook_health h ON h.workspace_id = w.workspace_id AND h.webhook_id = w.webhook_id
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(m.succeeded), 0) AS succeeded, coalesce(sum(m.failed), 0) AS failed FROM webhook_minutes m
        WHERE m.workspace_id = h.workspace_id AND m.webhook_id = h.webhook_id
            AND m.minute > greatest(now() - interval '5 minutes', h.closed_at, w.enabled_at - interval '1 minute')
    ) AS m
    WHERE h.streak > 0;
END;

-- Does what was decided about endpoints, unless one of them has succeeded or another worker has decided meanwhile:
-- `opened` is what the decision was made on. Times are epoch seconds and may be NULL; `warn_hours` is 0 for no warning.
CREATE FUNCTION act_on_webhooks(
    workspaces text[], ids text[], opened integer[], open_until double precision[], slow_until double precision[],
    warned integer[], warn_hours integer[], disable_at double precision[], disable boolean[]
) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    given record;
    since timestamptz;
    address text;
BEGIN
    FOR given IN
        SELECT * FROM unnest(workspaces, ids, opened, open_until, slow_until, warned, warn_hours, disable_at, disable)
            AS g (workspace, webhook, seen, pause, breath, level, hours, deadline, ends)
        ORDER BY webhook
    LOOP
        SELECT w.url INTO address FROM webhooks w
        WHERE w.workspace_id = given.workspace AND w.webhook_id = given.webhook AND w.status = 'enabled'
        FOR NO KEY UPDATE;
        CONTINUE WHEN NOT FOUND;
        UPDATE webhook_health h
        SET open_until = CASE WHEN given.pause IS NOT NULL AND h.opened = given.seen THEN to_timestamp(given.pause)
                ELSE h.open_until END,
            opened = h.opened + (given.pause IS NOT NULL AND h.opened = given.seen)::integer,
            slow_until = greatest(h.slow_until, to_timestamp(given.breath))
        WHERE h.workspace_id = given.workspace AND h.webhook_id = given.webhook AND h.streak > 0;
        UPDATE webhook_health h SET warned = given.level
        WHERE h.workspace_id = given.workspace AND h.webhook_id = given.webhook AND h.warned < given.level
            AND h.failing_since IS NOT NULL
        RETURNING h.failing_since INTO since;
        IF FOUND THEN
            PERFORM publish_event(given.workspace, 'webhook.warned', jsonb_build_object('webhook_id', given.webhook,
                'url', address, 'failing_since', told_time(since), 'hours', given.hours,
                'disable_at', told_time(to_timestamp(given.deadline))));
        END IF;
        IF given.ends AND EXISTS (SELECT FROM webhook_health h WHERE h.workspace_id = given.workspace
                AND h.webhook_id = given.webhook AND h.failing_since IS NOT NULL) THEN
            PERFORM disable_webhook(given.workspace, given.webhook, 'failing');
        END IF;
    END LOOP;
END $$;

-- Owes a `ping` to endpoints that disabled themselves, one each hour. Returns how many.
CREATE FUNCTION probe_webhooks() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    due record;
    event text;
    probed integer := 0;
BEGIN
    FOR due IN
        SELECT h.workspace_id, h.webhook_id FROM webhook_health h
        JOIN webhooks w ON w.workspace_id = h.workspace_id AND w.webhook_id = h.webhook_id
        WHERE h.probe_at <= now() AND w.status = 'disabled' AND w.disabled_reason = 'failing'
            AND NOT EXISTS (SELECT FROM webhook_deliveries d
                            WHERE d.status = 'pending' AND NOT d.parked AND d.stage = 3 AND d.webhook_id = h.webhook_id)
        ORDER BY h.probe_at LIMIT 100 FOR UPDATE OF h SKIP LOCKED
    LOOP
        UPDATE webhook_health h SET probe_at = now() + interval '1 hour'
        WHERE h.workspace_id = due.workspace_id AND h.webhook_id = due.webhook_id;
        event := new_id('evt');
        INSERT INTO events (workspace_id, event_id, type, body)
        VALUES (due.workspace_id, event, 'ping', event_body(event, 'ping', due.workspace_id, clock_timestamp(),
            jsonb_build_object('webhook_id', due.webhook_id)));
        INSERT INTO webhook_deliveries (workspace_id, delivery_id, event_id, event_type, webhook_id, probe)
        VALUES (due.workspace_id, new_id('dlv'), event, 'ping', due.webhook_id, true);
        probed := probed + 1;
    END LOOP;
    IF probed > 0 THEN
        PERFORM pg_notify('parley_deliveries', '');
    END IF;
    RETURN probed;
END $$;

-- Takes back leases that ran out: the try may have reached the receiver, so it is logged with an unknown outcome and the
-- delivery is due again at once, until its tries are used up (`max_attempts`, unless the endpoint has a schedule of its
-- own). Also cancels what is owed to endpoints that are gone.
CREATE OR REPLACE FUNCTION sweep_deliveries(max_attempts integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    given_up recorded_try[];
    reaped integer;
BEGIN
    WITH expired AS MATERIALIZED (
        SELECT d.workspace_id, d.delivery_id, d.attempts < CASE WHEN d.probe THEN 1
            ELSE coalesce((SELECT cardinality(schedule_of(w, d.event_type)) + 1 FROM webhooks w
                           WHERE w.workspace_id = d.workspace_id AND w.webhook_id = d.webhook_id), max_attempts)
            END AS again
        FROM webhook_deliveries d
        WHERE d.status = 'leased' AND d.lease_until < now()
        FOR UPDATE SKIP LOCKED
    ), taken_back AS (
        UPDATE webhook_deliveries d
        SET status = CASE WHEN x.again THEN 'pending' ELSE 'exhausted' END, due_at = now(),
            lease_token = NULL, lease_until = NULL, settled_at = CASE WHEN NOT x.again THEN now() END
        FROM expired x WHERE d.workspace_id = x.workspace_id AND d.delivery_id = x.delivery_id
        RETURNING d.*
    ), logged AS (
        INSERT INTO webhook_attempts (workspace_id, delivery_id, attempt, started_at, duration_ms, error_code, detail,
            next_attempt_at, webhook_id)
        SELECT t.workspace_id, t.delivery_id, t.attempts, now(), 0, 'unknown_outcome',
            'the sender stopped before it could note what came of this try',
            CASE WHEN t.status = 'pending' THEN now() END, t.webhook_id
        FROM taken_back t
    )
    SELECT count(*), array_agg(ROW(t.workspace_id, t.delivery_id, t.event_id, t.event_type, t.webhook_id, t.attempts,
        t.status, NULL, NULL, 'unknown_outcome', '')::recorded_try) FILTER (WHERE t.status = 'exhausted')
    INTO reaped, given_up FROM taken_back t;
    PERFORM tell_exhausted(given_up);

    UPDATE webhook_deliveries d SET status = 'cancelled', settled_at = now()
    FROM waiting_endpoints() AS waiting
    WHERE NOT EXISTS (SELECT FROM webhooks w WHERE w.webhook_id = waiting.webhook_id)
        AND d.status = 'pending' AND NOT d.parked AND d.stage = waiting.stage AND d.webhook_id = waiting.webhook_id;
    RETURN reaped;
END $$;

-- Seconds until the next delivery is due or the next lease runs out, not below 0; NULL when nothing waits.
CREATE FUNCTION next_due() RETURNS double precision
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT greatest(0, extract(epoch FROM first - now())::double precision)
    FROM (SELECT least(
        (SELECT min(CASE waiting.stage WHEN 3 THEN waiting.due_at
                        ELSE greatest(waiting.due_at, h.open_until, h.slow_until) END)
         FROM waiting_endpoints() AS waiting
         CROSS JOIN LATERAL (SELECT * FROM webhooks w WHERE w.webhook_id = waiting.webhook_id LIMIT 1) AS w
         LEFT JOIN webhook_health h ON h.workspace_id = w.workspace_id AND h.webhook_id = w.webhook_id
         WHERE w.status = 'enabled' OR (waiting.stage = 3 AND w.disabled_reason = 'failing')),
        (SELECT min(d.lease_until) FROM webhook_deliveries d WHERE d.status = 'leased')
    ) AS first) AS soonest
    WHERE first IS NOT NULL;
END;

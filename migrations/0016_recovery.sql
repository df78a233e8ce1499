-- Bulk work on deliveries: resend by filter, recover what failed, replay what was missed; a batch at a time.
--
-- An operation's `cursor` is a JSON object: each endpoint that it is not done with, and the event that it has come to
-- there. `total` is NULL where there was too much to count.

ALTER TABLE webhook_operations
    ALTER COLUMN total DROP NOT NULL,
    ADD COLUMN left_out bigint NOT NULL DEFAULT 0;

-- Deliveries of one endpoint whose events lie after the one id and up to the other; `fits` tells which of them the filter
-- wants. Of pending ones those are meant that wait for a retry.
CREATE FUNCTION chosen_deliveries(workspace text, hook text, filter jsonb, after text, last text)
    RETURNS TABLE (delivery_id text, event_id text, event_type text, fits boolean, expunged boolean)
    LANGUAGE sql STABLE AS $$
    SELECT d.delivery_id, d.event_id, d.event_type,
        filter -> 'statuses' ? d.status
            AND (d.status <> 'pending' OR d.attempts > 0 AND d.due_at > now())
            AND (NOT filter ? 'delivery_ids' OR filter -> 'delivery_ids' ? d.delivery_id)
            AND (NOT filter ? 'event_type' OR filter ->> 'event_type' = d.event_type
                 OR position('*' IN filter ->> 'event_type') > 0
                    AND filter ->> 'event_type' = ANY (patterns_for(d.event_type)))
            AND (NOT filter ? 'error_code' OR EXISTS (
                SELECT FROM webhook_attempts a
                WHERE a.workspace_id = workspace AND a.delivery_id = d.delivery_id AND a.attempt = d.attempts
                    AND a.error_code = filter ->> 'error_code')),
        NOT EXISTS (
            SELECT FROM events e
            WHERE e.workspace_id = workspace AND e.event_id = d.event_id AND e.expunged_at IS NULL)
    FROM all_deliveries d
    WHERE d.workspace_id = workspace AND d.webhook_id = hook AND d.event_id > after AND d.event_id <= last
$$;

-- Stored events after the one id and up to the other that the endpoint would want and was never owed, oldest first. A ping
-- is meant for the endpoint that it was sent to. As a difference of sets, because look-ups of what was owed for each event
-- would be planned to read all of the endpoint's rows while statistics are young.
CREATE FUNCTION missing_events(hook webhooks, after text, last text)
    RETURNS TABLE (event_id text, event_type text, body bytea, expunged boolean)
    LANGUAGE sql STABLE AS $$
    SELECT missing.event_id, e.type, e.body, e.expunged_at IS NOT NULL
    FROM (
        SELECT stored.event_id FROM events stored
        WHERE stored.workspace_id = hook.workspace_id AND stored.event_id > after AND stored.event_id <= last
        EXCEPT
        SELECT d.event_id FROM all_deliveries d
        WHERE d.workspace_id = hook.workspace_id AND d.webhook_id = hook.webhook_id
            AND d.event_id > after AND d.event_id <= last
        ORDER BY event_id
    ) AS missing CROSS JOIN LATERAL (
        SELECT stored.* FROM events stored
        WHERE stored.workspace_id = hook.workspace_id AND stored.event_id = missing.event_id OFFSET 0
    ) AS e
    WHERE CASE WHEN e.type = 'ping' OR NOT hook.events && patterns_for(e.type) THEN false
        ELSE e.expunged_at IS NOT NULL OR webhook_wants(hook, e.type, event_data(e.body)) END
$$;

-- What an operation would do, were it started now, by endpoint and type; `fault` tells why some would be left out.
CREATE FUNCTION count_operation(workspace text, kind text, hook text, filter jsonb)
    RETURNS TABLE (webhook_id text, event_type text, fault text, n bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    late webhooks;
BEGIN
    IF kind = 'replay_missing' THEN
        SELECT w.* INTO late FROM webhooks w WHERE w.workspace_id = workspace AND w.webhook_id = hook;
        RETURN QUERY
        SELECT hook, c.event_type, CASE WHEN c.expunged THEN 'expunged' ELSE '' END, count(*)
        FROM missing_events(late, filter ->> 'from', filter ->> 'to') AS c GROUP BY c.event_type, c.expunged;
    ELSE
        RETURN QUERY
        SELECT w.webhook_id, c.event_type,
            CASE WHEN w.status <> 'enabled' THEN 'disabled' WHEN c.expunged THEN 'expunged' ELSE '' END, count(*)
        FROM webhooks w CROSS JOIN LATERAL chosen_deliveries(
            workspace, w.webhook_id, filter, coalesce(filter ->> 'from', ''), filter ->> 'to') AS c
        WHERE w.workspace_id = workspace AND (hook = '' OR w.webhook_id = hook) AND c.fits
        GROUP BY 1, 2, 3;
    END IF;
END $$;

-- Of these deliveries those that there are, and why one cannot be sent again, or ''.
CREATE FUNCTION resendable(workspace text, ids text[])
    RETURNS TABLE (delivery_id text, published timestamptz, fault text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT d.delivery_id, time_of(d.event_id),
        CASE WHEN w.status IS NULL THEN 'deleted' WHEN w.status <> 'enabled' THEN 'disabled'
            WHEN e.event_id IS NULL OR e.expunged_at IS NOT NULL THEN 'expunged' ELSE '' END
    FROM all_deliveries d
    LEFT JOIN webhooks w ON w.workspace_id = d.workspace_id AND w.webhook_id = d.webhook_id
    LEFT JOIN events e ON e.workspace_id = d.workspace_id AND e.event_id = d.event_id
    WHERE d.workspace_id = workspace AND d.delivery_id = ANY (ids)
$$;

-- Leases operations that nobody holds to the holder of `token`: first those of workspaces that have the fewest under way.
CREATE FUNCTION claim_operations(most integer, token text, lease_seconds double precision)
    RETURNS TABLE (workspace_id text, operation_id text)
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE webhook_operations o
    SET status = 'running', lease_token = token, lease_until = now() + make_interval(secs => lease_seconds)
    FROM (
        SELECT w.workspace_id, w.operation_id FROM webhook_operations w
        WHERE w.status IN ('queued', 'running') AND (w.lease_until IS NULL OR w.lease_until < now())
        ORDER BY (SELECT count(*) FROM webhook_operations held
                  WHERE held.status IN ('queued', 'running') AND held.lease_until >= now()
                      AND held.workspace_id = w.workspace_id), w.operation_id
        LIMIT most FOR UPDATE OF w SKIP LOCKED
    ) AS free
    WHERE o.workspace_id = free.workspace_id AND o.operation_id = free.operation_id
    RETURNING o.workspace_id, o.operation_id
$$;

-- How many more deliveries an endpoint may be given: it has at most so many that are due or under way, about two seconds'
-- worth where it asked for a rate. So what comes in meanwhile never waits long behind a bulk.
CREATE FUNCTION webhook_room(hook webhooks, most_due integer) RETURNS integer
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    room integer := least(most_due, ceil(2.0 * hook.rate_count / hook.rate_seconds), 2 * hook.max_in_flight);
BEGIN
    RETURN room - (SELECT count(*) FROM (
        (SELECT FROM generate_series(0, 3) AS s CROSS JOIN LATERAL (
             SELECT FROM webhook_deliveries d
             WHERE d.status = 'pending' AND NOT d.parked AND d.stage = s AND d.webhook_id = hook.webhook_id
                 AND d.due_at <= now() LIMIT room) AS waiting
         LIMIT room)
        UNION ALL
        (SELECT FROM webhook_deliveries d
         WHERE d.webhook_id = hook.webhook_id AND d.ordering_key <> '' AND d.parked LIMIT room)
        UNION ALL
        (SELECT FROM webhook_deliveries d WHERE d.status = 'leased' AND d.webhook_id = hook.webhook_id LIMIT room)
    ) AS due);
END $$;

-- What one step did: how many it looked at, made due and left out, and the event that it came to (NULL: there are no more).
CREATE TYPE operation_step AS (looked integer, made integer, left_out integer, place text);

-- Makes up to `room` deliveries due that the filter wants, of the next `scan` that there are.
CREATE FUNCTION resend_step(hook webhooks, filter jsonb, after text, room integer, scan integer) RETURNS operation_step
    LANGUAGE plpgsql AS $$
DECLARE
    step operation_step;
    last text;
    ids text[];
BEGIN
    after := greatest(after, filter ->> 'from');
    SELECT count(*), max(event_id) INTO step.looked, last FROM (
        SELECT d.event_id FROM all_deliveries d
        WHERE d.workspace_id = hook.workspace_id AND d.webhook_id = hook.webhook_id
            AND d.event_id > after AND d.event_id <= filter ->> 'to'
        ORDER BY d.event_id LIMIT scan) AS next;
    SELECT count(*) FILTER (WHERE expunged), array_agg(delivery_id) FILTER (WHERE NOT expunged),
        CASE WHEN count(*) = room THEN max(event_id) WHEN step.looked = scan THEN last END
    INTO step.left_out, ids, step.place
    FROM (SELECT c.delivery_id, c.event_id, c.expunged
          FROM chosen_deliveries(hook.workspace_id, hook.webhook_id, filter, after, last) AS c
          WHERE c.fits ORDER BY c.event_id LIMIT room) AS taken;
    step.made := (SELECT count(*) FROM revive_deliveries(hook.workspace_id, ids));
    RETURN step;
END $$;

-- Owes the endpoint up to `room` events that it missed, of the next `scan` that are stored. The lock is for another
-- operation that does the same: what that one owed may be delivered and moved by now, which only a statement that begins
-- afterwards sees. The last two seconds are left for later, because an event's id is older than its commit; and days that
-- may be dropped by now are passed over, because what was owed goes before the events do.
CREATE FUNCTION replay_step(hook webhooks, filter jsonb, after text, room integer, scan integer) RETURNS operation_step
    LANGUAGE plpgsql AS $$
DECLARE
    step operation_step;
    safe text := id_from('evt', clock_timestamp() - interval '2 seconds');
    last text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('replay ' || hook.webhook_id, 0));
    after := greatest(after, filter ->> 'from', id_from('evt', date_trunc('day', now() + interval '1 hour', 'UTC')
        - make_interval(days => (filter -> 'keep_days')::integer)));
    SELECT count(*), max(event_id) INTO step.looked, last FROM (
        SELECT e.event_id FROM events e
        WHERE e.workspace_id = hook.workspace_id AND e.event_id > after AND e.event_id <= least(safe, filter ->> 'to')
        ORDER BY e.event_id LIMIT scan) AS next;
    WITH taken AS MATERIALIZED (
        SELECT * FROM missing_events(hook, after, last) AS m ORDER BY m.event_id LIMIT room
    ), owed AS (
        INSERT INTO webhook_deliveries (workspace_id, delivery_id, event_id, event_type, webhook_id, body, ordering_key)
        SELECT hook.workspace_id, new_id('dlv'), t.event_id, t.event_type, hook.webhook_id, delivery_body(hook, t.body),
            webhook_lane(hook, event_data(t.body))
        FROM taken t WHERE NOT t.expunged ORDER BY t.event_id
        ON CONFLICT DO NOTHING RETURNING event_id
    )
    SELECT (SELECT count(*) FROM owed), count(*) FILTER (WHERE expunged),
        CASE WHEN count(*) = room THEN max(event_id) WHEN step.looked = scan THEN last
            WHEN safe < filter ->> 'to' THEN coalesce(last, after) END
    INTO step.made, step.left_out, step.place FROM taken;
    RETURN step;
END $$;

-- One batch of an operation whose token still holds, and the lease anew, all or nothing. Endpoints are served side by side,
-- the one that is the furthest behind first. Plans are made for each batch, for partitions as they are by then. Returns
-- 'working', 'waiting' when no endpoint had room or nothing is old enough, 'settled' when there is nothing left to do, 'lost'.
CREATE FUNCTION advance_operation(
    workspace text, operation text, token text, batch integer, most_due integer, scan integer,
    lease_seconds double precision
) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    op webhook_operations;
    hook webhooks;
    step operation_step;
    places jsonb;
    target record;
    room integer;
    looked integer := 0;
    made integer := 0;
    missed integer := 0;
BEGIN
    SELECT o.* INTO op FROM webhook_operations o
    WHERE o.workspace_id = workspace AND o.operation_id = operation AND o.lease_token = token FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'lost';
    END IF;
    places := op.cursor::jsonb;
    FOR target IN SELECT key AS webhook_id, value AS after FROM jsonb_each_text(places) ORDER BY value, key LOOP
        EXIT WHEN made >= batch OR looked >= scan;
        SELECT w.* INTO hook FROM webhooks w WHERE w.workspace_id = workspace AND w.webhook_id = target.webhook_id;
        IF hook.status IS DISTINCT FROM 'enabled' THEN
            places := places - target.webhook_id;
            op.failure := left(concat_ws('; ', nullif(op.failure, ''), target.webhook_id || CASE
                WHEN hook.status IS NULL THEN ' was deleted meanwhile'
                ELSE ' was disabled meanwhile' || coalesce(' (' || nullif(hook.disabled_reason, '') || ')', '') END), 1000);
            CONTINUE;
        END IF;
        room := least(batch - made, webhook_room(hook, most_due));
        CONTINUE WHEN room <= 0;
        step := CASE op.kind
            WHEN 'replay_missing' THEN replay_step(hook, op.filter, target.after, room, scan - looked)
            ELSE resend_step(hook, op.filter, target.after, room, scan - looked) END;
        looked := looked + step.looked;
        made := made + step.made;
        missed := missed + step.left_out;
        places := places - target.webhook_id;
        IF step.place IS NOT NULL THEN
            places := places || jsonb_build_object(target.webhook_id, step.place);
        END IF;
    END LOOP;
    IF made > 0 THEN
        PERFORM pg_notify('parley_deliveries', '');
    END IF;
    IF places = '{}' THEN
        UPDATE webhook_operations o
        SET status = CASE op.failure WHEN '' THEN 'done' ELSE 'failed' END, done = o.done + made,
            left_out = o.left_out + missed, cursor = '{}', failure = op.failure, lease_token = NULL, lease_until = NULL,
            settled_at = now()
        WHERE o.workspace_id = workspace AND o.operation_id = operation;
        RETURN 'settled';
    END IF;
    IF looked > 0 OR places <> op.cursor::jsonb OR op.lease_until < now() + make_interval(secs => lease_seconds / 2) THEN
        UPDATE webhook_operations o
        SET done = o.done + made, left_out = o.left_out + missed, cursor = places::text, failure = op.failure,
            lease_until = now() + make_interval(secs => lease_seconds)
        WHERE o.workspace_id = workspace AND o.operation_id = operation;
    END IF;
    RETURN CASE WHEN looked > 0 THEN 'working' ELSE 'waiting' END;
END $$;

CREATE FUNCTION fail_operation(workspace text, operation text, token text, reason text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE webhook_operations
    SET status = 'failed', failure = reason, lease_token = NULL, lease_until = NULL, settled_at = now()
    WHERE workspace_id = workspace AND operation_id = operation AND lease_token = token
$$;

-- Hands an operation back: anybody may go on with it at once.
CREATE FUNCTION release_operation(workspace text, operation text, token text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE webhook_operations SET lease_token = NULL, lease_until = NULL
    WHERE workspace_id = workspace AND operation_id = operation AND lease_token = token
$$;

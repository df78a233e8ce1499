-- Where deliveries, attempts and events lie, and for how long.
--
-- `webhook_deliveries` holds what is still owed and stays small. What is settled moves to `webhook_deliveries_done`. That
-- one, `events` and `webhook_attempts` are partitioned by day, so that old days go by dropping a table. Ids begin with the
-- millisecond of their making, so a day is a range of ids: of the event's for events and deliveries, of the delivery's for
-- attempts. A default partition under each takes what falls into no day, so no row is ever refused. The app reaches
-- partitions through their parents only.

-- What an id that was made at this time begins with, and the time that an id begins with (NULL for what is no id).
CREATE FUNCTION id_from(prefix text, at timestamptz) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN prefix || '_' || lpad(to_hex(floor(greatest(0, extract(epoch FROM at)) * 1000)::bigint), 12, '0');

CREATE FUNCTION time_of(id text) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN to_timestamp(('x' || lpad(substring(id FROM '^[a-z]+_([0-9a-f]{12})'), 16, '0'))::bit(64)::bigint / 1000.0);

ALTER TABLE events ADD COLUMN expunged_at timestamptz;
ALTER TABLE webhook_attempts ADD COLUMN expunged_at timestamptz;

-- What was there becomes the partition of everything up to tonight, without being copied.
ALTER TABLE events RENAME TO events_before;
ALTER TABLE events_before RENAME CONSTRAINT events_pkey TO events_before_pkey;
ALTER TABLE webhook_attempts RENAME TO webhook_attempts_before;
ALTER TABLE webhook_attempts_before RENAME CONSTRAINT webhook_attempts_pkey TO webhook_attempts_before_pkey;
REVOKE ALL ON events_before, webhook_attempts_before FROM parley_app;

CREATE TABLE events (LIKE events_before INCLUDING DEFAULTS INCLUDING CONSTRAINTS, PRIMARY KEY (workspace_id, event_id))
    PARTITION BY RANGE (event_id);
CREATE TABLE webhook_attempts (
    LIKE webhook_attempts_before INCLUDING DEFAULTS INCLUDING CONSTRAINTS,
    PRIMARY KEY (workspace_id, delivery_id, attempt)
) PARTITION BY RANGE (delivery_id);

-- No key on `delivery_id` alone: a key has to hold the column that rows are parted by.
CREATE TABLE webhook_deliveries_done (
    workspace_id text NOT NULL,
    delivery_id text NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    webhook_id text NOT NULL,
    status text NOT NULL CHECK (status IN ('delivered', 'exhausted', 'cancelled')),
    attempts integer NOT NULL,
    created_at timestamptz NOT NULL,
    settled_at timestamptz NOT NULL,
    body bytea,
    ordering_key text,
    seq bigint,
    PRIMARY KEY (workspace_id, event_id, webhook_id)
) PARTITION BY RANGE (event_id);
CREATE INDEX webhook_deliveries_done_log ON webhook_deliveries_done (workspace_id, delivery_id);
CREATE INDEX webhook_deliveries_done_by_webhook ON webhook_deliveries_done (workspace_id, webhook_id, delivery_id);
CREATE INDEX webhook_deliveries_done_by_type ON webhook_deliveries_done (workspace_id, event_type, delivery_id);
CREATE INDEX webhook_deliveries_done_failed ON webhook_deliveries_done (workspace_id, delivery_id)
    WHERE status <> 'delivered';

CALL protect('events', 'SELECT, INSERT');
CALL protect('webhook_attempts', 'SELECT, UPDATE (response, expunged_at)');
CALL protect('webhook_deliveries_done', 'SELECT, INSERT, DELETE');

-- The days of a table: each partition but the default one with its range of ids; `since` is NULL where it has no start.
CREATE FUNCTION day_partitions(parent regclass) RETURNS TABLE (partition regclass, since text, until text)
    LANGUAGE sql STABLE SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT part.oid::regclass, substring(bound FROM 'FROM \(''([^'']*)''\)'), substring(bound FROM 'TO \(''([^'']*)''\)')
    FROM pg_inherits i JOIN pg_class part ON part.oid = i.inhrelid
    CROSS JOIN pg_get_expr(part.relpartbound, part.oid) AS bound
    WHERE i.inhparent = parent AND bound <> 'DEFAULT';
END;

-- The tables that are parted by day, by which column, and how its ids begin; in the order in which their days are dropped.
CREATE FUNCTION parted_tables() RETURNS TABLE (parent text, key text, prefix text)
    LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    VALUES ('webhook_deliveries_done', 'event_id', 'evt'), ('webhook_attempts', 'delivery_id', 'dlv'),
        ('events', 'event_id', 'evt');
END;

CREATE PROCEDURE hide_partition(tab text)
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tab);
    EXECUTE format('CREATE POLICY workspace_only ON %I USING (workspace_id = current_workspace())', tab);
END $$;

CREATE TABLE events_default PARTITION OF events DEFAULT;
CREATE TABLE webhook_attempts_default PARTITION OF webhook_attempts DEFAULT;
CREATE TABLE webhook_deliveries_done_default PARTITION OF webhook_deliveries_done DEFAULT;
CALL hide_partition('events_default');
CALL hide_partition('webhook_attempts_default');
CALL hide_partition('webhook_deliveries_done_default');

-- Adds the partition of one day unless there is one, and takes over what the default partition holds of that day. That one
-- is locked meanwhile, which nobody notices as long as partitions are made before their day. For a day that has begun,
-- writers have to wait as well: a row on its way into the default partition would be refused there.
CREATE FUNCTION make_partition(parent text, key text, prefix text, day date) RETURNS boolean
    LANGUAGE plpgsql SET search_path = public, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    name text := format('%s_d%s', parent, to_char(day, 'YYYYMMDD'));
    spare text := parent || '_default';
    first text := id_from(prefix, day::timestamp AT TIME ZONE 'UTC');
    past text := id_from(prefix, (day + 1)::timestamp AT TIME ZONE 'UTC');
BEGIN
    IF EXISTS (SELECT FROM day_partitions(parent) AS p WHERE coalesce(p.since, '') < past AND p.until > first) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', name, parent);
    CALL hide_partition(name);
    IF day <= (clock_timestamp() AT TIME ZONE 'UTC')::date THEN
        EXECUTE format('LOCK TABLE ONLY %I IN SHARE ROW EXCLUSIVE MODE', parent);
    END IF;
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', spare);
    EXECUTE format('WITH strays AS (DELETE FROM %I WHERE %I >= %L AND %I < %L RETURNING *) '
        'INSERT INTO %I SELECT * FROM strays', spare, key, first, key, past, name);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, name, first, past);
    RETURN true;
END $$;

-- Makes one partition that is missing: of today and the days ahead, and of days whose rows lie in the default one. Returns
-- its name, or NULL when there is nothing left to do or somebody else is at it. One at a time, so that no lock is held long.
CREATE FUNCTION make_next_partition(days_ahead integer) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
    t record;
    day date;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('parley partitions')) THEN
        RETURN NULL;
    END IF;
    FOR t IN SELECT * FROM parted_tables() LOOP
        FOR day IN EXECUTE format(
            'SELECT DISTINCT (time_of(%I) AT TIME ZONE ''UTC'')::date FROM %I WHERE time_of(%I) < $1 '
            'UNION SELECT $2 + n FROM generate_series(0, $3) AS n ORDER BY 1', t.key, t.parent || '_default', t.key)
            USING now() + make_interval(days => days_ahead), today, days_ahead
        LOOP
            IF make_partition(t.parent, t.key, t.prefix, day) THEN
                RETURN format('%s_d%s', t.parent, to_char(day, 'YYYYMMDD'));
            END IF;
        END LOOP;
    END LOOP;
    RETURN NULL;
END $$;

DO $$
DECLARE
    tonight timestamptz := ((now() AT TIME ZONE 'UTC')::date + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF EXISTS (SELECT FROM events_before) THEN
        EXECUTE format('ALTER TABLE events ATTACH PARTITION events_before FOR VALUES FROM (MINVALUE) TO (%L)',
            id_from('evt', tonight));
        EXECUTE format('ALTER TABLE webhook_attempts ATTACH PARTITION webhook_attempts_before '
            'FOR VALUES FROM (MINVALUE) TO (%L)', id_from('dlv', tonight));
        EXECUTE format('CREATE TABLE webhook_deliveries_done_before PARTITION OF webhook_deliveries_done '
            'FOR VALUES FROM (MINVALUE) TO (%L)', id_from('evt', tonight));
        CALL hide_partition('webhook_deliveries_done_before');
    ELSE
        DROP TABLE events_before, webhook_attempts_before;
    END IF;
    WHILE make_next_partition(3) IS NOT NULL LOOP END LOOP;
END $$;

WITH settled AS (
    DELETE FROM webhook_deliveries WHERE settled_at IS NOT NULL RETURNING *
)
INSERT INTO webhook_deliveries_done (workspace_id, delivery_id, event_id, event_type, webhook_id, status, attempts,
    created_at, settled_at, body, ordering_key, seq)
SELECT workspace_id, delivery_id, event_id, event_type, webhook_id, status, attempts, created_at, settled_at, body,
    ordering_key, seq
FROM settled;

-- Whoever settles a row in place (a deletion of its endpoint, a statement by hand) has it moved. What settles many moves
-- them itself, in one statement.
CREATE FUNCTION move_settled_delivery() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    WITH settled AS (
        DELETE FROM webhook_deliveries d
        WHERE d.workspace_id = NEW.workspace_id AND d.delivery_id = NEW.delivery_id
        RETURNING d.*
    )
    INSERT INTO webhook_deliveries_done (workspace_id, delivery_id, event_id, event_type, webhook_id, status, attempts,
        created_at, settled_at, body, ordering_key, seq)
    SELECT s.workspace_id, s.delivery_id, s.event_id, s.event_type, s.webhook_id, s.status, s.attempts, s.created_at,
        s.settled_at, s.body, s.ordering_key, s.seq
    FROM settled s;
    RETURN NULL;
END $$;
CREATE TRIGGER settled_rows_move AFTER UPDATE OF settled_at ON webhook_deliveries
    FOR EACH ROW WHEN (NEW.settled_at IS NOT NULL) EXECUTE FUNCTION move_settled_delivery();

-- The log: what is owed and what is settled.
CREATE VIEW all_deliveries WITH (security_invoker = true) AS
SELECT workspace_id, delivery_id, event_id, event_type, webhook_id, status, attempts, due_at, created_at, settled_at, body,
    ordering_key, seq
FROM webhook_deliveries
UNION ALL
SELECT workspace_id, delivery_id, event_id, event_type, webhook_id, status, attempts, NULL::timestamptz, created_at,
    settled_at, body, ordering_key, seq
FROM webhook_deliveries_done;
GRANT SELECT ON all_deliveries TO parley_app;

-- Drops one day of one table that ended `keep_days` ago or earlier. Returns its name, or NULL when there is none or somebody
-- else is at it. What is still owed from that time is exhausted first; an event stays while a try of it is under way. The
-- short wait for the lock is deliberate: who waits for a parent's lock holds up everybody behind him.
CREATE FUNCTION drop_next_partition(keep_days integer) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    horizon timestamptz := date_trunc('day', now(), 'UTC') - make_interval(days => keep_days);
    t record;
    found regclass;
BEGIN
    IF keep_days < 7 THEN
        RAISE EXCEPTION 'events and deliveries are kept for seven days at least';
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtext('parley partitions')) THEN
        RETURN NULL;
    END IF;
    WITH overdue AS (
        DELETE FROM webhook_deliveries d WHERE d.event_id < id_from('evt', horizon) AND d.lease_token IS NULL
        RETURNING d.*
    )
    INSERT INTO webhook_deliveries_done (workspace_id, delivery_id, event_id, event_type, webhook_id, status, attempts,
        created_at, settled_at, body, ordering_key, seq)
    SELECT workspace_id, delivery_id, event_id, event_type, webhook_id, 'exhausted', attempts, created_at, now(), body,
        ordering_key, seq
    FROM overdue;
    FOR t IN SELECT * FROM parted_tables() LOOP
        EXECUTE format('DELETE FROM %I WHERE %I < %L', t.parent || '_default', t.key, id_from(t.prefix, horizon));
        SELECT p.partition INTO found FROM day_partitions(t.parent) AS p
        WHERE p.until <= id_from(t.prefix, horizon)
            AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.event_id < id_from('evt', horizon))
        ORDER BY p.until LIMIT 1;
        IF found IS NOT NULL THEN
            EXECUTE format('DROP TABLE %s', found);
            RETURN found::text;
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

-- Minutes older than two days become hours, and what is older than `keep_days` goes. One hour at a time: returns how many
-- rows went, 0 when there is nothing left to do.
ALTER TABLE webhook_minutes SET (fillfactor = 70);
CREATE INDEX webhook_minutes_by_time ON webhook_minutes (minute);
CREATE INDEX webhook_minutes_to_fold ON webhook_minutes (minute)
    WHERE extract(minute FROM minute AT TIME ZONE 'UTC') <> 0;

CREATE FUNCTION fold_minutes(keep_days integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    hour timestamptz;
    folded bigint;
    expired bigint;
BEGIN
    DELETE FROM webhook_minutes m WHERE m.minute < now() - make_interval(days => greatest(7, keep_days));
    GET DIAGNOSTICS expired = ROW_COUNT;
    SELECT date_trunc('hour', min(m.minute), 'UTC') INTO hour FROM webhook_minutes m
    WHERE extract(minute FROM m.minute AT TIME ZONE 'UTC') <> 0
        AND m.minute < date_trunc('hour', now(), 'UTC') - interval '2 days';
    WITH gone AS (
        DELETE FROM webhook_minutes m
        WHERE extract(minute FROM m.minute AT TIME ZONE 'UTC') <> 0
            AND m.minute > hour AND m.minute < hour + interval '1 hour'
        RETURNING m.*
    ), summed AS (
        SELECT g.workspace_id, g.webhook_id, sum(g.succeeded) AS succeeded, sum(g.failed) AS failed,
            ARRAY[sum(g.buckets[1]), sum(g.buckets[2]), sum(g.buckets[3]), sum(g.buckets[4]), sum(g.buckets[5]),
                sum(g.buckets[6]), sum(g.buckets[7]), sum(g.buckets[8]), sum(g.buckets[9]), sum(g.buckets[10]),
                sum(g.buckets[11]), sum(g.buckets[12]), sum(g.buckets[13]), sum(g.buckets[14]), sum(g.buckets[15])
            ]::integer[] AS buckets,
            count(*) AS n
        FROM gone g GROUP BY 1, 2
    ), added AS (
        INSERT INTO webhook_minutes AS m (workspace_id, webhook_id, minute, succeeded, failed, buckets)
        SELECT s.workspace_id, s.webhook_id, hour, s.succeeded, s.failed, s.buckets FROM summed s
        ON CONFLICT (workspace_id, webhook_id, minute) DO UPDATE
        SET succeeded = m.succeeded + excluded.succeeded, failed = m.failed + excluded.failed,
            buckets = add_buckets(m.buckets, excluded.buckets)
    )
    SELECT coalesce(sum(s.n), 0) INTO folded FROM summed s;
    RETURN expired + folded;
END $$;

-- One try as it was recorded, for what follows from it: the endpoint's health, its breaker, the events about them. `due`
-- is NULL when the delivery is settled; `disable` names why the endpoint has to go, or is ''.
CREATE TYPE recorded_try AS (
    workspace_id text,
    delivery_id text,
    event_id text,
    event_type text,
    webhook_id text,
    attempt integer,
    status text,
    due timestamptz,
    status_code integer,
    error_code text,
    disable text
);

-- Codes that tell of a fault of ours and say nothing about the receiver; `webhooks.transport.OURS` is the same list.
CREATE FUNCTION our_fault(error_code text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN error_code IN ('interrupted', 'proxy_error', 'resolver_error', 'secret_unreadable', 'unexpected_error');

-- Which of the fifteen buckets of `webhook_minutes` a duration belongs to, from 1.
CREATE FUNCTION duration_bucket(duration_ms integer) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 1 + width_bucket(duration_ms,
        ARRAY[2, 3, 6, 11, 21, 51, 101, 201, 501, 1001, 2001, 5001, 10001, 30001]);

CREATE FUNCTION add_buckets(a integer[], b integer[]) RETURNS integer[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY[a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4], a[5] + b[5], a[6] + b[6], a[7] + b[7], a[8] + b[8],
        a[9] + b[9], a[10] + b[10], a[11] + b[11], a[12] + b[12], a[13] + b[13], a[14] + b[14], a[15] + b[15]];

DROP FUNCTION record_deliveries(text[], text[], text[], text[], double precision[], double precision[], integer[],
    integer[], text[], text[], text[], bytea[], boolean[], text[]);
DROP FUNCTION note_health(text[], text[], text[], text[]);

-- Keeps `failing_since`: set by failures with no success beside them, cleared by a success. Writes only on a change, and
-- locks in one order, so that workers do not wait for each other in a circle.
CREATE FUNCTION note_health(tries recorded_try[]) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    WITH seen AS (
        SELECT t.workspace_id, t.webhook_id, bool_or(t.status = 'delivered') AS well
        FROM unnest(tries) AS t GROUP BY 1, 2
    ), changed AS (
        SELECT w.workspace_id, w.webhook_id, seen.well FROM webhooks w JOIN seen USING (workspace_id, webhook_id)
        WHERE (w.failing_since IS NULL) <> seen.well
        ORDER BY w.webhook_id FOR NO KEY UPDATE OF w
    )
    UPDATE webhooks w SET failing_since = CASE WHEN changed.well THEN NULL ELSE now() END
    FROM changed WHERE w.workspace_id = changed.workspace_id AND w.webhook_id = changed.webhook_id;
END $$;

-- Settles deliveries whose token still holds and logs the attempts of exactly those, all or nothing; what is settled moves
-- in the same statement. `next_due` is NULL for a settled delivery; `disable` names why the endpoint has to go, or is ''.
-- `request_headers` are JSON, as they were sent but with credentials masked. Tries that failed for a fault of ours count
-- in no endpoint's statistics. Returns the rows that were applied: what is missing belongs to somebody else by now.
CREATE FUNCTION record_deliveries(
    workspaces text[], deliveries text[], tokens text[], statuses text[], next_due double precision[],
    started double precision[], durations integer[], status_codes integer[], error_codes text[], details text[],
    headers text[], responses bytea[], cuts boolean[], disable text[], urls text[] DEFAULT '{}',
    request_headers text[] DEFAULT '{}'
) RETURNS TABLE (delivery_id text)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    tries recorded_try[];
    gone record;
BEGIN
    WITH result AS MATERIALIZED (
        SELECT * FROM unnest(workspaces, deliveries, tokens, statuses, next_due, started, durations, status_codes,
            error_codes, details, headers, responses, cuts, disable, urls, request_headers)
            AS r (workspace, delivery, token, outcome, due, began, duration, code, error, detail, answered, response, cut,
                reason, address, sent)
    ), settled AS (
        DELETE FROM webhook_deliveries d USING result r
        WHERE d.workspace_id = r.workspace AND d.delivery_id = r.delivery AND d.lease_token = r.token AND r.due IS NULL
        RETURNING d.event_id, d.event_type, d.webhook_id, d.attempts, d.created_at, d.body, d.ordering_key, d.seq, r.*
    ), moved AS (
        INSERT INTO webhook_deliveries_done (workspace_id, delivery_id, event_id, event_type, webhook_id, status,
            attempts, created_at, settled_at, body, ordering_key, seq)
        SELECT s.workspace, s.delivery, s.event_id, s.event_type, s.webhook_id, s.outcome, s.attempts, s.created_at,
            now(), s.body, s.ordering_key, s.seq
        FROM settled s
    ), waiting AS (
        UPDATE webhook_deliveries d
        SET status = r.outcome, due_at = to_timestamp(r.due), lease_token = NULL, lease_until = NULL
        FROM result r
        WHERE d.workspace_id = r.workspace AND d.delivery_id = r.delivery AND d.lease_token = r.token
            AND r.due IS NOT NULL
        RETURNING d.event_id, d.event_type, d.webhook_id, d.attempts, d.created_at, d.body, d.ordering_key, d.seq, r.*
    ), applied AS (
        SELECT * FROM settled UNION ALL SELECT * FROM waiting
    ), logged AS (
        INSERT INTO webhook_attempts (workspace_id, delivery_id, attempt, started_at, duration_ms, status_code,
            error_code, detail, response_headers, response, truncated, next_attempt_at, webhook_id, url, request_headers)
        SELECT a.workspace, a.delivery, a.attempts, to_timestamp(a.began), a.duration, a.code, a.error, a.detail,
            a.answered::jsonb, a.response, a.cut, to_timestamp(a.due), a.webhook_id, coalesce(a.address, ''),
            coalesce(a.sent, '{}')::jsonb
        FROM applied a
    ), counted AS (
        INSERT INTO webhook_minutes AS m (workspace_id, webhook_id, minute, succeeded, failed, buckets)
        SELECT b.workspace, b.webhook_id, date_trunc('minute', now()), count(*) FILTER (WHERE b.error = ''),
            count(*) FILTER (WHERE b.error <> ''), ARRAY[
                count(*) FILTER (WHERE b.n = 1), count(*) FILTER (WHERE b.n = 2), count(*) FILTER (WHERE b.n = 3),
                count(*) FILTER (WHERE b.n = 4), count(*) FILTER (WHERE b.n = 5), count(*) FILTER (WHERE b.n = 6),
                count(*) FILTER (WHERE b.n = 7), count(*) FILTER (WHERE b.n = 8), count(*) FILTER (WHERE b.n = 9),
                count(*) FILTER (WHERE b.n = 10), count(*) FILTER (WHERE b.n = 11), count(*) FILTER (WHERE b.n = 12),
                count(*) FILTER (WHERE b.n = 13), count(*) FILTER (WHERE b.n = 14), count(*) FILTER (WHERE b.n = 15)
            ]::integer[]
        FROM (SELECT a.*, duration_bucket(a.duration) AS n FROM applied a WHERE NOT our_fault(a.error)) AS b
        GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT (workspace_id, webhook_id, minute) DO UPDATE
        SET succeeded = m.succeeded + excluded.succeeded, failed = m.failed + excluded.failed,
            buckets = add_buckets(m.buckets, excluded.buckets)
    )
    SELECT array_agg(ROW(a.workspace, a.delivery, a.event_id, a.event_type, a.webhook_id, a.attempts, a.outcome,
        to_timestamp(a.due), a.code, a.error, a.reason)::recorded_try) INTO tries FROM applied a;

    PERFORM note_health(tries);
    FOR gone IN
        SELECT DISTINCT t.workspace_id, t.webhook_id, t.disable FROM unnest(tries) AS t
        WHERE t.disable <> '' ORDER BY t.webhook_id
    LOOP
        PERFORM disable_webhook(gone.workspace_id, gone.webhook_id, gone.disable);
    END LOOP;
    RETURN QUERY SELECT t.delivery_id FROM unnest(tries) AS t;
END $$;

-- Makes deliveries due now, whatever came of them; the next try takes the next number. Passes over those under way and
-- those whose event was expunged. Runs with the caller's rights. Returns the ids of what is due.
CREATE FUNCTION revive_deliveries(workspace text, ids text[]) RETURNS SETOF text
    LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    WITH back AS (
        DELETE FROM webhook_deliveries_done d
        WHERE d.workspace_id = workspace AND d.delivery_id = ANY (ids)
            AND (SELECT e.expunged_at IS NULL FROM events e
                 WHERE e.workspace_id = d.workspace_id AND e.event_id = d.event_id)
        RETURNING d.*
    )
    INSERT INTO webhook_deliveries (workspace_id, delivery_id, event_id, event_type, webhook_id, attempts, created_at,
        body, ordering_key, seq)
    SELECT b.workspace_id, b.delivery_id, b.event_id, b.event_type, b.webhook_id, b.attempts, b.created_at, b.body,
        b.ordering_key, b.seq
    FROM back b;
    -- A statement of its own, so that it sees what somebody else revived meanwhile.
    RETURN QUERY
    UPDATE webhook_deliveries d SET due_at = now()
    WHERE d.workspace_id = workspace AND d.delivery_id = ANY (ids) AND d.status = 'pending'
    RETURNING d.delivery_id;
    IF FOUND THEN
        PERFORM pg_notify('parley_deliveries', '');
    END IF;
END $$;

-- Takes an event's payload away for good, wherever it lies: its data, the forms of it that endpoints were owed, and what is
-- still owed of it. A try that is under way can no longer be stopped, so it is logged with an unknown outcome. Returns
-- whether there is such an event in the workspace that this transaction acts for.
CREATE FUNCTION expunge_event(event text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    workspace text := current_workspace();
BEGIN
    UPDATE events e SET expunged_at = now(), body = convert_to((convert_from(e.body, 'UTF8')::jsonb
        || jsonb_build_object('data', '{}'::jsonb, 'expunged_at',
            to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')))::text, 'UTF8')
    WHERE e.workspace_id = workspace AND e.event_id = event AND e.expunged_at IS NULL;
    IF NOT FOUND THEN
        RETURN EXISTS (SELECT FROM events e WHERE e.workspace_id = workspace AND e.event_id = event);
    END IF;
    UPDATE webhook_deliveries_done d SET body = NULL
    WHERE d.workspace_id = workspace AND d.event_id = event AND d.body IS NOT NULL;
    WITH owed AS (
        SELECT d.* FROM webhook_deliveries d WHERE d.workspace_id = workspace AND d.event_id = event FOR UPDATE
    ), cancelled AS (
        UPDATE webhook_deliveries d
        SET status = 'cancelled', settled_at = now(), body = NULL, lease_token = NULL, lease_until = NULL
        FROM owed o WHERE d.workspace_id = o.workspace_id AND d.delivery_id = o.delivery_id
    )
    INSERT INTO webhook_attempts (workspace_id, delivery_id, attempt, started_at, duration_ms, error_code, detail,
        webhook_id)
    SELECT o.workspace_id, o.delivery_id, o.attempts, now(), 0, 'unknown_outcome',
        'the payload was expunged during this try', o.webhook_id
    FROM owed o WHERE o.lease_token IS NOT NULL;
    RETURN true;
END $$;

-- As before; what has used up its tries and what is owed to nobody moves to the settled ones.
CREATE OR REPLACE FUNCTION sweep_deliveries(max_attempts integer) RETURNS integer
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
        RETURNING d.workspace_id, d.delivery_id, d.webhook_id, d.attempts, d.status
    )
    INSERT INTO webhook_attempts (workspace_id, delivery_id, attempt, started_at, duration_ms, error_code, detail,
        next_attempt_at, webhook_id)
    SELECT t.workspace_id, t.delivery_id, t.attempts, now(), 0, 'unknown_outcome',
        'the sender stopped before it could note what came of this try',
        CASE WHEN t.status = 'pending' THEN now() END, t.webhook_id
    FROM taken_back t;
    GET DIAGNOSTICS reaped = ROW_COUNT;

    UPDATE webhook_deliveries d SET status = 'cancelled', settled_at = now()
    FROM waiting_endpoints() AS waiting
    WHERE NOT EXISTS (SELECT FROM webhooks w WHERE w.webhook_id = waiting.webhook_id)
        AND d.status = 'pending' AND d.retry = waiting.retry AND d.webhook_id = waiting.webhook_id;
    RETURN reaped;
END $$;

-- As before; the body is looked up by its whole key. As a join it was planned by workspace alone while statistics were
-- young, and read all of a day's events for each row.
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
        RETURNING d.workspace_id, d.delivery_id, d.event_id, d.webhook_id, d.attempts, d.body
    )
    SELECT leased.workspace_id, leased.delivery_id, leased.event_id, leased.webhook_id, leased.attempts, w.url,
        ARRAY(SELECT s.sealed FROM webhook_secrets s
              WHERE s.workspace_id = leased.workspace_id AND s.webhook_id = leased.webhook_id
                  AND (s.expires_at IS NULL OR s.expires_at > now())
              ORDER BY s.created_at DESC),
        coalesce(leased.body, (SELECT e.body FROM events e
            WHERE e.workspace_id = leased.workspace_id AND e.event_id = leased.event_id))
    FROM leased
    JOIN webhooks w ON w.workspace_id = leased.workspace_id AND w.webhook_id = leased.webhook_id;
END $$;

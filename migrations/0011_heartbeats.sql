-- Heartbeats wait for nobody. A row that is locked is being written by whoever ends it: it needs no longer lease, and to
-- wait for it with other rows in hand was a deadlock with a batch that had those and wanted this one.

-- As before. A turn that is locked counts as the caller's as long as nobody else has committed that it is theirs.
CREATE OR REPLACE FUNCTION renew_turns(turn_ids text[], tokens text[], lease_seconds double precision) RETURNS SETOF text
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    WITH free AS (
        SELECT t.workspace_id, t.turn_id FROM turns t
        JOIN unnest(turn_ids, tokens) AS held (turn_id, token) ON t.turn_id = held.turn_id AND t.token = held.token
        FOR UPDATE OF t SKIP LOCKED
    ), renewed AS (
        UPDATE turns t SET lease_until = now() + make_interval(secs => lease_seconds)
        FROM free WHERE t.workspace_id = free.workspace_id AND t.turn_id = free.turn_id
        RETURNING t.turn_id
    )
    SELECT t.turn_id FROM turns t
    JOIN unnest(turn_ids, tokens) AS held (turn_id, token) ON t.turn_id = held.turn_id AND t.token = held.token;
END;

-- As before.
CREATE OR REPLACE FUNCTION renew_outbound(outbound_ids text[], tokens text[], lease_seconds double precision) RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    WITH free AS (
        SELECT o.workspace_id, o.outbound_id FROM outbound_messages o
        JOIN unnest(outbound_ids, tokens) AS held (outbound_id, token)
            ON o.outbound_id = held.outbound_id AND o.token = held.token
        FOR UPDATE OF o SKIP LOCKED
    )
    UPDATE outbound_messages o SET lease_until = now() + make_interval(secs => lease_seconds)
    FROM free WHERE o.workspace_id = free.workspace_id AND o.outbound_id = free.outbound_id;
END;

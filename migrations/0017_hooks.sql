-- Inbound hooks: what 0012 left open.

ALTER TABLE hooks
    -- The shipped example that it was made from, '' for an own template.
    ADD COLUMN example text NOT NULL DEFAULT '';

ALTER TABLE hook_calls
    ADD COLUMN call_id text NOT NULL DEFAULT '',
    ADD COLUMN conversation_id text NOT NULL DEFAULT '',
    ADD CHECK (outcome IN ('', 'accepted', 'ignored'));
CREATE INDEX hook_calls_newest ON hook_calls (workspace_id, hook_id, call_id DESC);
CREATE INDEX hook_calls_by_age ON hook_calls (created_at);

-- Who is called is known only after this look-up, so it cannot run under a workspace.
CREATE FUNCTION find_hook(wanted bytea) RETURNS SETOF hooks
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT * FROM hooks WHERE token_hash = wanted AND status = 'enabled';
END;

CREATE FUNCTION forget_hook_calls(age interval, most integer) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    WITH old AS (
        SELECT c.workspace_id, c.hook_id, c.external_id FROM hook_calls c
        WHERE c.created_at < now() - age ORDER BY c.created_at LIMIT most FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM hook_calls c USING old
        WHERE (c.workspace_id, c.hook_id, c.external_id) = (old.workspace_id, old.hook_id, old.external_id)
        RETURNING 1
    )
    SELECT count(*) FROM gone;
END;

-- As before; words that no turn asked for answer no slash command either: they are not for its person's eyes alone, and
-- would be refused once its time is over.
CREATE OR REPLACE FUNCTION claim_outbound(
    workspaces text[], conversation_ids text[], new_token text, lease_seconds double precision)
    RETURNS TABLE (workspace_id text, outbound_id text, account_id text, conversation_id text, message_id text,
                   unit jsonb, plain text, use_plain boolean, attempts integer, ambiguous integer, address jsonb, target jsonb,
                   created_at timestamptz)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    RETURN QUERY
    WITH heads AS (
        SELECT h.workspace_id, h.outbound_id
        FROM unnest(workspaces, conversation_ids) AS wanted (ws, conv)
        CROSS JOIN LATERAL (
            SELECT o.* FROM outbound_messages o
            WHERE o.workspace_id = wanted.ws AND o.conversation_id = wanted.conv AND o.state IN ('pending', 'sending')
            ORDER BY o.seq LIMIT 1 FOR UPDATE SKIP LOCKED) h
        WHERE h.state = 'pending' AND h.due_at <= now()
            AND NOT EXISTS (SELECT FROM outbound_messages e
                            WHERE e.workspace_id = h.workspace_id AND e.conversation_id = h.conversation_id
                                AND e.state IN ('pending', 'sending') AND e.seq < h.seq)
    ), claimed AS (
        UPDATE outbound_messages o
        SET state = 'sending', token = new_token, lease_until = now() + make_interval(secs => lease_seconds),
            attempts = o.attempts + 1
        FROM heads WHERE o.workspace_id = heads.workspace_id AND o.outbound_id = heads.outbound_id
        RETURNING o.*
    )
    SELECT c.workspace_id, c.outbound_id, c.account_id, c.conversation_id, c.message_id, c.unit, c.plain, c.use_plain,
           c.attempts, c.ambiguous,
           CASE WHEN c.turn_id = '' THEN v.address - 'interaction' ELSE
               coalesce(asked.address || jsonb_strip_nulls(jsonb_build_object('chat_id', v.address -> 'chat_id')), v.address)
           END,
           c.target, c.created_at
    FROM claimed c JOIN conversations v USING (workspace_id, conversation_id)
    LEFT JOIN LATERAL (
        SELECT u.message -> 'address' AS address FROM inbound_updates u
        WHERE c.turn_id <> '' AND u.workspace_id = c.workspace_id AND u.turn_id = c.turn_id
        ORDER BY u.seq DESC LIMIT 1) asked ON true;
END $$;

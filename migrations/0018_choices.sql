-- What an answer lets people choose from is shown in the web chat as well.
DROP FUNCTION stream_messages(text[], text[], bigint[], integer);
CREATE FUNCTION stream_messages(workspaces text[], conversation_ids text[], seen bigint[], most integer)
    RETURNS TABLE (n bigint, seq bigint, message_id text, session_id text, turn_id text, role text, text text,
                   citations jsonb, files jsonb, choices jsonb, created_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT s.n, m.seq, m.message_id, m.session_id, m.turn_id, m.role, m.text, m.citations,
           message_files(s.ws, m.message_id), coalesce(m.retrieval -> 'choices', '[]'), m.created_at
    FROM unnest(workspaces, conversation_ids, seen) WITH ORDINALITY AS s (ws, conversation, seq, n)
    CROSS JOIN LATERAL (
        SELECT * FROM messages i
        WHERE i.workspace_id = s.ws AND i.conversation_id = s.conversation AND i.seq > s.seq
        ORDER BY i.seq LIMIT most) AS m
    ORDER BY s.n, m.seq;
END;

-- As before: commands are known by answers that rest on no search, with choices or without.
CREATE OR REPLACE FUNCTION turn_history(turn turns, conv conversations, memory integer) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('role', h.role, 'text', h.text) ORDER BY h.seq), '[]')
            FROM (SELECT m.role, m.text, m.seq
                  FROM (SELECT turn.conversation_id AS conversation_id, turn.session_id AS session_id
                        UNION ALL
                        SELECT s.conversation_id, s.session_id
                        FROM sessions s JOIN conversations c USING (workspace_id, conversation_id)
                        WHERE conv.private AND s.workspace_id = turn.workspace_id AND s.user_id = turn.user_id
                            AND s.closed_at IS NULL AND s.last_turn_at > now() - interval '1 day'
                            AND c.private AND c.account_id <> conv.account_id) o
                  CROSS JOIN LATERAL (
                      SELECT x.role, x.text, x.seq FROM messages x
                      WHERE x.workspace_id = turn.workspace_id AND x.conversation_id = o.conversation_id
                          AND x.session_id = o.session_id AND x.turn_id <> turn.turn_id
                          AND x.text <> '' AND x.role <> 'system'
                          AND CASE x.role WHEN 'user' THEN x.text NOT LIKE '/%'
                                  ELSE x.retrieval - 'choices' <> '{}' OR x.turn_id = '' END
                      ORDER BY x.seq DESC LIMIT memory) m
                  ORDER BY m.seq DESC LIMIT memory) h);

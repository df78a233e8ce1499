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

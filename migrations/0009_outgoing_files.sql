-- Files that we send people: kept beside those that people sent. Each knows the message that it came with.

ALTER TABLE attachments
    ALTER COLUMN session_id SET DEFAULT '', ALTER COLUMN turn_id SET DEFAULT '',
    ADD COLUMN direction text NOT NULL DEFAULT 'in' CHECK (direction IN ('in', 'out')),
    ADD COLUMN message_id text,
    ADD COLUMN caption text NOT NULL DEFAULT '';
UPDATE attachments SET message_id = 'msg' || regexp_replace(substr(attachment_id, 4), '_\d+$', '');
CREATE INDEX attachments_by_message ON attachments (workspace_id, message_id) WHERE message_id IS NOT NULL;

-- What readers of a message are told of its files: those that were kept.
CREATE FUNCTION message_files(ws text, message text) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('attachment_id', f.attachment_id, 'name', f.name,
                                'mime', f.mime, 'size', f.size, 'caption', f.caption) ORDER BY f.attachment_id), '[]')
            FROM attachments f WHERE f.workspace_id = ws AND f.message_id = message AND f.content IS NOT NULL);

-- As before, and each message's files.
DROP FUNCTION stream_messages(text[], text[], bigint[], integer);
CREATE FUNCTION stream_messages(workspaces text[], conversation_ids text[], seen bigint[], most integer)
    RETURNS TABLE (n bigint, seq bigint, message_id text, session_id text, turn_id text, role text, text text,
                   citations jsonb, files jsonb, created_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT s.n, m.seq, m.message_id, m.session_id, m.turn_id, m.role, m.text, m.citations,
           message_files(s.ws, m.message_id), m.created_at
    FROM unnest(workspaces, conversation_ids, seen) WITH ORDINALITY AS s (ws, conversation, seq, n)
    CROSS JOIN LATERAL (
        SELECT * FROM messages i
        WHERE i.workspace_id = s.ws AND i.conversation_id = s.conversation AND i.seq > s.seq
        ORDER BY i.seq LIMIT most) AS m
    ORDER BY s.n, m.seq;
END;

-- As before; the event names the files among the units.
CREATE OR REPLACE FUNCTION tell(ws text, conversation text, who text, words text, units jsonb) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    conv conversations;
    message text := new_id('msg');
    ses text;
    files jsonb;
BEGIN
    SELECT * INTO conv FROM conversations c WHERE c.workspace_id = ws AND c.conversation_id = conversation;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT s.session_id INTO ses FROM sessions s
    WHERE s.workspace_id = ws AND s.conversation_id = conversation AND s.closed_at IS NULL;
    INSERT INTO messages (workspace_id, message_id, conversation_id, session_id, user_id, role, text)
    VALUES (ws, message, conversation, coalesce(ses, ''), conv.user_id, who, words);
    INSERT INTO outbound_messages (workspace_id, outbound_id, account_id, conversation_id, message_id, unit, plain)
    SELECT ws, new_id('out'), conv.account_id, conversation, message, u.value -> 'payload', u.value ->> 'plain'
    FROM jsonb_array_elements(units) WITH ORDINALITY AS u (value, n) ORDER BY u.n;
    IF who = 'assistant' THEN
        SELECT jsonb_agg(u.value -> 'payload' ORDER BY u.n) INTO files
        FROM jsonb_array_elements(units) WITH ORDINALITY AS u (value, n) WHERE u.value -> 'payload' ? 'attachment_id';
        PERFORM publish_event(ws, 'chat.response.generated', jsonb_strip_nulls(jsonb_build_object('files', files))
            || jsonb_build_object(
                'message_id', message, 'conversation_id', conversation, 'session_id', ses, 'turn_id', NULL,
                'user_id', conv.user_id, 'account_id', conv.account_id, 'text', words, 'citations', '[]'::jsonb));
    END IF;
    RETURN message;
END $$;

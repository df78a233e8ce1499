-- Files that people sent: kept, and where they hold text, context of their conversation.

-- status: read (text is there), kept (nothing that we read), refused (not kept: too large, of a dangerous kind, or gone).
CREATE TABLE attachments (
    workspace_id text NOT NULL,
    attachment_id text NOT NULL,
    conversation_id text NOT NULL,
    session_id text NOT NULL,
    turn_id text NOT NULL,
    name text NOT NULL,
    mime text NOT NULL,
    size integer NOT NULL,
    digest bytea NOT NULL DEFAULT '',
    content bytea,
    text text NOT NULL DEFAULT '',
    status text NOT NULL CHECK (status IN ('read', 'kept', 'refused')),
    cause text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, attachment_id),
    FOREIGN KEY (workspace_id, conversation_id) REFERENCES conversations ON DELETE CASCADE
);
ALTER TABLE attachments ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX attachments_by_session ON attachments (workspace_id, session_id);
CREATE INDEX attachments_by_conversation ON attachments (workspace_id, conversation_id, attachment_id);
CALL protect('attachments');

-- As before, and "files": whether this session has text of files to look at.
CREATE OR REPLACE FUNCTION turn_description(turn turns, conv conversations, exhausted boolean, memory integer)
    RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object(
        'workspace_id', turn.workspace_id, 'turn_id', turn.turn_id, 'token', turn.token, 'attempt', turn.attempt,
        'account_id', conv.account_id, 'conversation_id', conv.conversation_id,
        'conversation_key', conv.conversation_key, 'session_id', turn.session_id, 'user_id', turn.user_id,
        'address', conv.address, 'private', conv.private, 'exhausted', exhausted, 'preview', turn.preview,
        'begun_at', extract(epoch FROM turn.created_at)::double precision,
        'files', EXISTS (SELECT FROM attachments f
                         WHERE f.workspace_id = turn.workspace_id AND f.session_id = turn.session_id
                             AND f.status = 'read'),
        'updates', (SELECT coalesce(jsonb_agg(u.message ORDER BY u.seq), '[]') FROM inbound_updates u
                    WHERE u.workspace_id = turn.workspace_id AND u.turn_id = turn.turn_id),
        'message_ids', (SELECT coalesce(jsonb_agg(m.message_id ORDER BY m.seq), '[]') FROM messages m
                        WHERE m.workspace_id = turn.workspace_id AND m.turn_id = turn.turn_id AND m.role = 'user'),
        'history', turn_history(turn, conv, memory));

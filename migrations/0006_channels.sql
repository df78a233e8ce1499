-- More channels: previews that a final answer replaces, sends that can be settled by looking, words without a question,
-- sockets held by one process, and how far a bot's hearing reaches.

-- listening_until: up to then everything that was said has reached us; after a gap, history is read from there.
-- probed_at, health: what the last probe of the bot's inbound side found.
ALTER TABLE channel_accounts
    ADD COLUMN listening_until timestamptz,
    ADD COLUMN probed_at timestamptz,
    ADD COLUMN health jsonb NOT NULL DEFAULT '{}';

-- The receipt of the message on which this turn's answer is shown while it is made.
ALTER TABLE turns ADD COLUMN preview jsonb;

-- The receipt of a message that this unit replaces; null for a message of its own.
ALTER TABLE outbound_messages ADD COLUMN target jsonb;

ALTER TABLE messages ALTER COLUMN turn_id SET DEFAULT '', ALTER COLUMN session_id SET DEFAULT '';
ALTER TABLE outbound_messages ALTER COLUMN turn_id SET DEFAULT '';

-- A person's open sessions, wherever they talk.
CREATE INDEX open_sessions_by_user ON sessions (workspace_id, user_id) WHERE closed_at IS NULL;

-- As before. `*` in a function means the columns of the day on which it was made.
CREATE OR REPLACE FUNCTION find_account(wanted text) RETURNS SETOF channel_accounts
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT * FROM channel_accounts WHERE account_id = wanted AND status <> 'disconnected';
END;

CREATE OR REPLACE FUNCTION accounts_to_poll() RETURNS SETOF channel_accounts
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT * FROM channel_accounts
    WHERE mode = 'polling' AND status <> 'disconnected' AND poll_lease_until < now();
END;

CREATE FUNCTION accounts_to_listen() RETURNS SETOF channel_accounts
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT * FROM channel_accounts
    WHERE mode = 'socket' AND status <> 'disconnected' AND poll_lease_until < now();
END;

-- Bots whose platform can be asked for what was said meanwhile, or whether it reaches us; one process at a time does.
CREATE FUNCTION accounts_to_tend(kinds text[], every double precision) RETURNS SETOF channel_accounts
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    UPDATE channel_accounts a SET probed_at = now()
    WHERE a.account_id IN (
        SELECT c.account_id FROM channel_accounts c
        WHERE c.kind = ANY (kinds) AND c.status <> 'disconnected'
            AND (c.probed_at IS NULL OR c.probed_at < now() - make_interval(secs => every))
        ORDER BY c.probed_at NULLS FIRST LIMIT 20 FOR UPDATE SKIP LOCKED)
    RETURNING a.*;
END;

-- One holder of a bot's connection over all processes.
CREATE OR REPLACE FUNCTION lease_poll(wanted text, token text, seconds double precision) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE channel_accounts
    SET poll_token = token, poll_lease_until = now() + make_interval(secs => seconds)
    WHERE account_id = wanted AND mode IN ('polling', 'socket') AND status <> 'disconnected'
        AND (poll_token = token OR poll_lease_until < now());
    RETURN FOUND;
END $$;

-- How far hearing reaches. It never moves back.
CREATE FUNCTION note_listening(wanted text, until timestamptz) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    UPDATE channel_accounts SET listening_until = greatest(listening_until, until) WHERE account_id = wanted;
END;

CREATE FUNCTION note_health(wanted text, found jsonb) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    UPDATE channel_accounts SET health = found WHERE account_id = wanted;
END;

CREATE FUNCTION note_inbound(wanted text[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    UPDATE channel_accounts SET last_inbound_at = now() WHERE account_id = ANY (wanted);
END;

-- The health of every bot, over all workspaces, for /health/ready, metrics and `parley doctor`.
CREATE FUNCTION bots_health() RETURNS TABLE (account_id text, kind text, status text, failure text, health jsonb,
                                             last_inbound_at timestamptz, probed_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT a.account_id, a.kind, a.status, a.failure, a.health, a.last_inbound_at, a.probed_at
    FROM channel_accounts a WHERE a.status <> 'disconnected' AND a.kind NOT IN ('rest', 'web') ORDER BY a.account_id;
END;

-- The preview's receipt, fenced by the token; false when the turn is somebody else's by now.
CREATE FUNCTION note_preview(turn_key text, held_token text, receipt jsonb) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE turns t SET preview = receipt WHERE t.turn_id = turn_key AND t.token = held_token AND held_token <> '';
    RETURN FOUND;
END $$;

-- Where an account talks one to one, the places spoken in last first.
CREATE FUNCTION private_places(account text, most integer) RETURNS SETOF jsonb
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT c.address FROM channel_accounts a
    JOIN conversations c ON c.workspace_id = a.workspace_id AND c.account_id = a.account_id
    WHERE a.account_id = account AND c.private AND c.blocked_at IS NULL ORDER BY c.last_message_at DESC LIMIT most;
END;

-- Whether the bot takes part in this conversation, or is about to.
CREATE FUNCTION has_joined(account text, key text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT EXISTS (
        SELECT FROM channel_accounts a
        JOIN conversations c ON c.workspace_id = a.workspace_id AND c.account_id = a.account_id
        WHERE a.account_id = account AND c.conversation_key = key)
        OR EXISTS (
        SELECT FROM channel_accounts a
        JOIN inbound_updates u ON u.workspace_id = a.workspace_id AND u.account_id = a.account_id
        WHERE a.account_id = account AND u.conversation_key = key AND u.status = 'pending');
END;

-- Where the oldest waiting message of a conversation is answered.
CREATE FUNCTION waiting_address(account text, key text) RETURNS jsonb
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT u.message -> 'address' FROM channel_accounts a
    JOIN inbound_updates u ON u.workspace_id = a.workspace_id AND u.account_id = a.account_id
    WHERE a.account_id = account AND u.conversation_key = key AND u.status = 'pending' AND u.kind IN ('text', 'command')
    ORDER BY u.seq LIMIT 1;
END;

-- Where a message of ours stands, of which a platform tells no more than its id and its chat. Looked for among what was
-- said lately: receipts have no index, and such news is rare.
CREATE FUNCTION place_of_sent(account text, chat text, ref text) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT c.conversation_key
    FROM (SELECT v.* FROM channel_accounts a
          JOIN conversations v ON v.workspace_id = a.workspace_id AND v.account_id = a.account_id
          WHERE a.account_id = account
              AND chat IN (v.address ->> 'chat_id', v.address ->> 'channel', v.address ->> 'channel_id')
          ORDER BY v.last_message_at DESC LIMIT 200) c
    CROSS JOIN LATERAL (
        SELECT m.workspace_id, m.message_id FROM messages m
        WHERE m.workspace_id = c.workspace_id AND m.conversation_id = c.conversation_id AND m.role = 'assistant'
        ORDER BY m.seq DESC LIMIT 50) m
    JOIN outbound_messages o ON o.workspace_id = m.workspace_id AND o.message_id = m.message_id
    WHERE ref IN (o.receipt ->> 'ts', o.receipt ->> 'message_id') LIMIT 1;
END;

-- What was said before. In private a person's other channels count as well: who asks in one and goes on in another is
-- still the same person. There the session has to be open and not older than a day.
CREATE FUNCTION turn_history(turn turns, conv conversations, memory integer) RETURNS jsonb
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
                      ORDER BY x.seq DESC LIMIT memory) m
                  ORDER BY m.seq DESC LIMIT memory) h);

CREATE OR REPLACE FUNCTION turn_description(turn turns, conv conversations, exhausted boolean, memory integer)
    RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object(
        'workspace_id', turn.workspace_id, 'turn_id', turn.turn_id, 'token', turn.token, 'attempt', turn.attempt,
        'account_id', conv.account_id, 'conversation_id', conv.conversation_id,
        'conversation_key', conv.conversation_key, 'session_id', turn.session_id, 'user_id', turn.user_id,
        'address', conv.address, 'private', conv.private, 'exhausted', exhausted, 'preview', turn.preview,
        'begun_at', extract(epoch FROM turn.created_at)::double precision,
        'updates', (SELECT coalesce(jsonb_agg(u.message ORDER BY u.seq), '[]') FROM inbound_updates u
                    WHERE u.workspace_id = turn.workspace_id AND u.turn_id = turn.turn_id),
        'message_ids', (SELECT coalesce(jsonb_agg(m.message_id ORDER BY m.seq), '[]') FROM messages m
                        WHERE m.workspace_id = turn.workspace_id AND m.turn_id = turn.turn_id AND m.role = 'user'),
        'history', turn_history(turn, conv, memory));

-- Gives waiting updates to a turn: those like `first` and by the same person that stand together at the head of the
-- queue. Texts of one person that piled up are read together, and so are the pictures of an album; anything else is a
-- turn of its own, in its place in the order. So is what a platform wants answered in its own place (an interaction).
CREATE FUNCTION take_updates(turn turns, account text, key text, first inbound_updates) RETURNS boolean
    LANGUAGE plpgsql AS $$
BEGIN
    -- `= ANY (ARRAY (…))` and not a join: planned while the table was empty, a join would read the whole workspace.
    UPDATE inbound_updates u SET status = 'taken', turn_id = turn.turn_id
    WHERE u.workspace_id = turn.workspace_id AND u.update_id = ANY (ARRAY (
        SELECT q.update_id
        FROM (SELECT p.update_id, p.seq,
                  count(*) FILTER (WHERE p.kind <> first.kind
                      OR p.message #> '{address,interaction}' IS NOT NULL
                      OR p.message #>> '{sender,external_id}' <> first.message #>> '{sender,external_id}')
                      OVER (ORDER BY p.seq) AS breaks
              FROM (SELECT * FROM inbound_updates w
                    WHERE w.workspace_id = turn.workspace_id AND w.account_id = account AND w.conversation_key = key
                        AND w.status = 'pending' ORDER BY w.seq LIMIT 20) p) q
        WHERE q.seq = first.seq OR (first.kind IN ('text', 'unsupported') AND q.breaks = 0
                                    AND first.message #> '{address,interaction}' IS NULL)));
    RETURN FOUND;
END $$;

-- Makes the user's messages of a turn's updates, and tells of those that are new.
CREATE FUNCTION hear_updates(turn turns, account text) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE told bigint;
BEGIN
    -- A message that is there already belongs to an update that was set aside and is now tried again by hand.
    WITH heard AS (
        INSERT INTO messages AS m (workspace_id, message_id, conversation_id, session_id, turn_id, user_id, role, text,
                                   message_ref)
        SELECT turn.workspace_id, 'msg' || substr(u.update_id, 4), turn.conversation_id, turn.session_id, turn.turn_id,
               turn.user_id, 'user',
               CASE WHEN u.kind = 'command' THEN '/' || (u.message ->> 'command') ||
                        CASE WHEN u.message ->> 'text' = '' THEN '' ELSE ' ' || (u.message ->> 'text') END
                    ELSE u.message ->> 'text' END,
               u.message ->> 'message_ref'
        FROM inbound_updates u
        WHERE u.workspace_id = turn.workspace_id AND u.turn_id = turn.turn_id
            AND u.kind IN ('text', 'command', 'unsupported', 'stranger')
        ORDER BY u.seq
        ON CONFLICT (workspace_id, message_id) DO UPDATE
        SET turn_id = excluded.turn_id, session_id = excluded.session_id
        RETURNING m.message_id, m.text, m.seq, m.xmax = 0 AS fresh
    )
    SELECT count(publish_event(turn.workspace_id, 'chat.message.received', jsonb_build_object(
        'message_id', h.message_id, 'conversation_id', turn.conversation_id, 'session_id', turn.session_id,
        'turn_id', turn.turn_id, 'user_id', turn.user_id, 'account_id', account, 'text', h.text)) ORDER BY h.seq)
    INTO told FROM heard h WHERE h.fresh;
END $$;

CREATE OR REPLACE FUNCTION open_turn(
    account text, key text, new_token text, lease_seconds double precision, tries integer, memory integer)
    RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    ws text;
    conv conversations;
    turn turns;
    first inbound_updates;
    person text;
    ses sessions;
    fresh_user boolean := false;
BEGIN
    SELECT a.workspace_id INTO ws FROM channel_accounts a WHERE a.account_id = account;
    SELECT * INTO conv FROM conversations c
    WHERE c.workspace_id = ws AND c.account_id = account AND c.conversation_key = key;

    IF FOUND THEN
        SELECT * INTO turn FROM turns t
        WHERE t.workspace_id = ws AND t.conversation_id = conv.conversation_id AND t.status = 'running' FOR UPDATE;
        IF FOUND THEN
            IF turn.lease_until > now() THEN
                RETURN '{"busy": true}';
            END IF;
            UPDATE turns t SET token = new_token, attempt = t.attempt + 1,
                lease_until = now() + make_interval(secs => lease_seconds)
            WHERE t.workspace_id = ws AND t.turn_id = turn.turn_id RETURNING * INTO turn;
            RETURN turn_description(turn, conv, turn.attempt > tries, memory);
        END IF;
    END IF;

    SELECT * INTO first FROM inbound_updates u
    WHERE u.workspace_id = ws AND u.account_id = account AND u.conversation_key = key AND u.status = 'pending'
    ORDER BY u.seq LIMIT 1;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;

    IF conv.conversation_id IS NULL THEN
        INSERT INTO conversations (workspace_id, conversation_id, account_id, conversation_key, address, private)
        VALUES (ws, new_id('conv'), account, key, first.message -> 'address', (first.message ->> 'private')::boolean)
        ON CONFLICT DO NOTHING RETURNING * INTO conv;
        IF NOT FOUND THEN
            RETURN '{"busy": true}';
        END IF;
    END IF;

    SELECT i.user_id INTO person FROM identities i
    WHERE i.workspace_id = ws AND i.account_id = account AND i.external_id = first.message #>> '{sender,external_id}';
    IF NOT FOUND THEN
        person := new_id('usr');
        INSERT INTO users (workspace_id, user_id, display_name, language)
        VALUES (ws, person, first.message #>> '{sender,name}', first.message #>> '{sender,language}');
        INSERT INTO identities (workspace_id, identity_id, account_id, external_id, user_id, username)
        VALUES (ws, new_id('idn'), account, first.message #>> '{sender,external_id}', person,
                first.message #>> '{sender,username}')
        ON CONFLICT (workspace_id, account_id, external_id) DO NOTHING;
        fresh_user := FOUND;
        IF NOT fresh_user THEN
            DELETE FROM users u WHERE u.workspace_id = ws AND u.user_id = person;
            SELECT i.user_id INTO person FROM identities i
            WHERE i.workspace_id = ws AND i.account_id = account
                AND i.external_id = first.message #>> '{sender,external_id}';
        END IF;
    END IF;

    SELECT * INTO ses FROM sessions s
    WHERE s.workspace_id = ws AND s.conversation_id = conv.conversation_id AND s.closed_at IS NULL;
    IF NOT FOUND THEN
        INSERT INTO sessions (workspace_id, session_id, conversation_id, user_id)
        VALUES (ws, new_id('ses'), conv.conversation_id, person)
        ON CONFLICT DO NOTHING RETURNING * INTO ses;
        IF NOT FOUND THEN
            RETURN '{"busy": true}';
        END IF;
        PERFORM publish_event(ws, 'session.started', jsonb_build_object(
            'session_id', ses.session_id, 'conversation_id', conv.conversation_id, 'user_id', person));
    END IF;

    INSERT INTO turns (workspace_id, turn_id, conversation_id, session_id, user_id, token, lease_until)
    VALUES (ws, new_id('turn'), conv.conversation_id, ses.session_id, person, new_token,
            now() + make_interval(secs => lease_seconds))
    ON CONFLICT DO NOTHING RETURNING * INTO turn;
    IF NOT FOUND THEN
        RETURN '{"busy": true}';
    END IF;

    IF NOT take_updates(turn, account, key, first) THEN
        -- Between the look for a first update and the turn that now holds the conversation, another holder took it and
        -- was done. A turn without updates must not be: look again, from the start.
        DELETE FROM turns t WHERE t.workspace_id = ws AND t.turn_id = turn.turn_id;
        RETURN open_turn(account, key, new_token, lease_seconds, tries, memory);
    END IF;

    PERFORM hear_updates(turn, account);
    IF fresh_user THEN
        PERFORM publish_event(ws, 'user.created', jsonb_build_object('user_id', person, 'account_id', account));
    END IF;

    UPDATE conversations c SET last_message_at = now(), user_id = coalesce(c.user_id, person),
        address = coalesce((SELECT u.message -> 'address' FROM inbound_updates u
                            WHERE u.workspace_id = ws AND u.turn_id = turn.turn_id ORDER BY u.seq DESC LIMIT 1), c.address),
        blocked_at = NULL
    WHERE c.workspace_id = ws AND c.conversation_id = conv.conversation_id RETURNING * INTO conv;
    RETURN turn_description(turn, conv, false, memory);
END $$;

-- A turn that still runs takes what its person has written since, so that a burst gets one answer. Null when there is
-- nothing of the kind, or when the turn is somebody else's by now.
CREATE FUNCTION absorb_updates(turn_key text, held_token text, memory integer) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    turn turns;
    conv conversations;
    first inbound_updates;
BEGIN
    SELECT * INTO turn FROM turns t
    WHERE t.turn_id = turn_key AND t.token = held_token AND held_token <> '' FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT * INTO conv FROM conversations c
    WHERE c.workspace_id = turn.workspace_id AND c.conversation_id = turn.conversation_id;
    SELECT * INTO first FROM inbound_updates u
    WHERE u.workspace_id = turn.workspace_id AND u.turn_id = turn.turn_id ORDER BY u.seq LIMIT 1;
    IF first.kind IS DISTINCT FROM 'text' OR NOT take_updates(turn, conv.account_id, conv.conversation_key, first) THEN
        RETURN NULL;
    END IF;
    PERFORM hear_updates(turn, conv.account_id);
    UPDATE conversations c SET last_message_at = now(),
        address = coalesce((SELECT u.message -> 'address' FROM inbound_updates u
                            WHERE u.workspace_id = turn.workspace_id AND u.turn_id = turn.turn_id
                            ORDER BY u.seq DESC LIMIT 1), c.address)
    WHERE c.workspace_id = conv.workspace_id AND c.conversation_id = conv.conversation_id RETURNING * INTO conv;
    RETURN turn_description(turn, conv, false, memory);
END $$;

-- A fresh start in one of a person's private places is one in all of them, since history follows the person.
CREATE FUNCTION end_elsewhere(turn turns, conv conversations) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE told bigint;
BEGIN
    WITH ended AS (
        UPDATE sessions s SET closed_at = now(), outcome = 'resolved'
        FROM conversations c
        WHERE s.workspace_id = turn.workspace_id AND s.user_id = turn.user_id AND s.closed_at IS NULL
            AND c.workspace_id = s.workspace_id AND c.conversation_id = s.conversation_id AND c.private
            AND c.account_id <> conv.account_id
        RETURNING s.*
    )
    SELECT count(publish_event(e.workspace_id, 'session.resolved', jsonb_build_object(
        'session_id', e.session_id, 'conversation_id', e.conversation_id, 'user_id', e.user_id)))
    INTO told FROM ended e;
END $$;

-- As before; the first unit takes the place of the preview, if there is one.
-- result: as before, and {"preview": receipt | null}
CREATE OR REPLACE FUNCTION finish_turn(
    turn_key text, held_token text, result jsonb, send_token text, lease_seconds double precision) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    turn turns;
    conv conversations;
    message text := NULL;
    unit jsonb;
    unit_id text;
    claimed text;
    way_is_free boolean;
    target jsonb := NULLIF(result -> 'preview', 'null');
    answered boolean := result ->> 'status' = 'done';
BEGIN
    UPDATE turns t SET status = result ->> 'status', finished_at = now(), failure = coalesce(result ->> 'failure', ''),
        metrics = coalesce(result -> 'metrics', '{}'), token = ''
    WHERE t.turn_id = turn_key AND t.token = held_token AND held_token <> '' RETURNING * INTO turn;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT * INTO conv FROM conversations c
    WHERE c.workspace_id = turn.workspace_id AND c.conversation_id = turn.conversation_id;

    UPDATE inbound_updates u
    SET status = CASE WHEN NOT answered THEN 'dead' WHEN result -> 'answer' = 'null' THEN 'ignored' ELSE 'answered' END,
        cause = coalesce(result ->> 'failure', '')
    WHERE u.workspace_id = turn.workspace_id AND u.turn_id = turn.turn_id;

    IF result -> 'edits' <> '[]' THEN
        UPDATE messages m SET text = e.text, edited_at = now()
        FROM jsonb_to_recordset(coalesce(result -> 'edits', '[]')) AS e (message_ref text, text text)
        WHERE m.workspace_id = turn.workspace_id AND m.conversation_id = turn.conversation_id AND m.role = 'user'
            AND m.message_ref = e.message_ref AND e.message_ref <> '';
    END IF;

    IF result -> 'answer' <> 'null' THEN
        message := new_id('msg');
        INSERT INTO messages (workspace_id, message_id, conversation_id, session_id, turn_id, user_id, role, text,
                              citations, retrieval)
        VALUES (turn.workspace_id, message, turn.conversation_id, turn.session_id, turn.turn_id, turn.user_id,
                'assistant', result #>> '{answer,text}', coalesce(result #> '{answer,citations}', '[]'),
                coalesce(result #> '{answer,retrieval}', '{}'));
        way_is_free := NOT EXISTS (
            SELECT FROM outbound_messages o
            WHERE o.workspace_id = turn.workspace_id AND o.conversation_id = turn.conversation_id
                AND o.state IN ('pending', 'sending'));
        FOR unit IN SELECT value FROM jsonb_array_elements(result -> 'units') LOOP
            INSERT INTO outbound_messages (workspace_id, outbound_id, account_id, conversation_id, turn_id, message_id,
                                           unit, plain, target, state, token, lease_until, attempts)
            VALUES (turn.workspace_id, new_id('out'), conv.account_id, turn.conversation_id, turn.turn_id, message,
                    unit -> 'payload', unit ->> 'plain', target, CASE WHEN way_is_free THEN 'sending' ELSE 'pending' END,
                    CASE WHEN way_is_free THEN send_token ELSE '' END,
                    CASE WHEN way_is_free THEN now() + make_interval(secs => lease_seconds) END,
                    way_is_free::integer)
            RETURNING outbound_id INTO unit_id;
            IF way_is_free THEN
                claimed := unit_id;
            END IF;
            way_is_free := false;
            target := NULL;
        END LOOP;
        PERFORM publish_event(turn.workspace_id,
            CASE WHEN answered THEN 'chat.response.generated' ELSE 'chat.response.failed' END,
            jsonb_build_object('message_id', message, 'conversation_id', turn.conversation_id,
                'session_id', turn.session_id, 'turn_id', turn.turn_id, 'user_id', turn.user_id,
                'account_id', conv.account_id, 'text', result #>> '{answer,text}',
                'citations', coalesce(result #> '{answer,citations}', '[]'))
            || CASE WHEN answered THEN '{}' ELSE jsonb_build_object('reason', result ->> 'failure') END);
    END IF;

    IF (result ->> 'blocked')::boolean THEN
        UPDATE conversations c SET blocked_at = now()
        WHERE c.workspace_id = turn.workspace_id AND c.conversation_id = turn.conversation_id;
    END IF;
    UPDATE sessions s
    SET snapshot = coalesce(result -> 'snapshot', s.snapshot), last_turn_at = now(),
        closed_at = CASE WHEN (result ->> 'end_session')::boolean THEN now() END,
        outcome = CASE WHEN (result ->> 'end_session')::boolean THEN 'resolved' END
    WHERE s.workspace_id = turn.workspace_id AND s.session_id = turn.session_id AND s.closed_at IS NULL;
    IF (result ->> 'end_session')::boolean AND conv.private THEN
        PERFORM end_elsewhere(turn, conv);
    END IF;
    IF (result ->> 'end_session')::boolean THEN
        PERFORM publish_event(turn.workspace_id, 'session.resolved', jsonb_build_object(
            'session_id', turn.session_id, 'conversation_id', turn.conversation_id, 'user_id', turn.user_id));
    END IF;

    RETURN jsonb_build_object(
        'message_id', message, 'claimed', claimed,
        'more', EXISTS (SELECT FROM inbound_updates u
                        WHERE u.workspace_id = turn.workspace_id AND u.account_id = conv.account_id
                            AND u.conversation_key = conv.conversation_key AND u.status = 'pending'));
END $$;


-- Words that no turn asked for: a notification, or the notice that a busy gateway keeps a message. Returns the message's id.
-- role "system": not part of what is remembered of the conversation.
CREATE FUNCTION tell(ws text, conversation text, who text, words text, units jsonb) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    conv conversations;
    message text := new_id('msg');
    ses text;
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
        PERFORM publish_event(ws, 'chat.response.generated', jsonb_build_object(
            'message_id', message, 'conversation_id', conversation, 'session_id', ses, 'turn_id', NULL,
            'user_id', conv.user_id, 'account_id', conv.account_id, 'text', words, 'citations', '[]'::jsonb));
    END IF;
    RETURN message;
END $$;


DROP FUNCTION claim_outbound(text[], text[], text, double precision);
CREATE FUNCTION claim_outbound(workspaces text[], conversation_ids text[], new_token text, lease_seconds double precision)
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
           c.attempts, c.ambiguous, v.address, c.target, c.created_at
    FROM claimed c JOIN conversations v USING (workspace_id, conversation_id);
END $$;

-- Sends whose holder is gone. `findable_kinds` can be looked for where they were sent to, so they are due again as well.
CREATE FUNCTION reap_outbound(idempotent_kinds text[], findable_kinds text[])
    RETURNS TABLE (workspace_id text, conversation_id text, state text)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    WITH reaped AS (
        UPDATE outbound_messages o
        SET state = CASE WHEN a.kind = ANY (idempotent_kinds || findable_kinds)
                             OR a.settings ->> 'unknown_sends' IS DISTINCT FROM 'hold'
                         THEN 'pending' ELSE 'unknown' END,
            ambiguous = o.ambiguous + CASE WHEN a.kind = ANY (idempotent_kinds) THEN 0 ELSE 1 END,
            cause = 'the process that was sending it ended', token = '', lease_until = NULL, due_at = now()
        FROM channel_accounts a
        WHERE o.state = 'sending' AND o.lease_until < now()
            AND a.workspace_id = o.workspace_id AND a.account_id = o.account_id
        RETURNING o.*
    ), told AS (
        SELECT publish_event(r.workspace_id, 'chat.response.failed', jsonb_build_object('message_id', r.message_id,
            'outbound_id', r.outbound_id, 'conversation_id', r.conversation_id, 'account_id', r.account_id,
            'reason', r.cause, 'state', r.state))
        FROM reaped r WHERE r.state = 'unknown'
    )
    SELECT r.workspace_id, r.conversation_id, r.state FROM reaped r WHERE (SELECT count(*) FROM told) >= 0;
END;

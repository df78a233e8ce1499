-- Talk: what users sent us, the turns that answer it, and what we owe users in return.
--
-- The statements that span workspaces (accepting a batch of updates, opening and finishing batches of turns, claiming
-- and recording sends) are SECURITY DEFINER functions: each row brings its workspace along, taken from the account.

CREATE TABLE conversations (
    workspace_id text NOT NULL,
    conversation_id text NOT NULL,
    account_id text NOT NULL,
    conversation_key text NOT NULL,
    user_id text,
    address jsonb NOT NULL,
    private boolean NOT NULL DEFAULT true,
    blocked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_message_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, conversation_id),
    UNIQUE (workspace_id, account_id, conversation_key),
    FOREIGN KEY (workspace_id, account_id) REFERENCES channel_accounts ON DELETE CASCADE
);
CREATE INDEX conversations_by_time ON conversations (workspace_id, last_message_at DESC);
CALL protect('conversations');

CREATE TABLE sessions (
    workspace_id text NOT NULL,
    session_id text NOT NULL,
    conversation_id text NOT NULL,
    user_id text NOT NULL,
    snapshot jsonb NOT NULL DEFAULT '{}',
    outcome text CHECK (outcome IN ('resolved', 'escalated', 'abandoned')),
    started_at timestamptz NOT NULL DEFAULT now(),
    last_turn_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz,
    PRIMARY KEY (workspace_id, session_id),
    FOREIGN KEY (workspace_id, conversation_id) REFERENCES conversations ON DELETE CASCADE
);
CREATE UNIQUE INDEX one_open_session ON sessions (workspace_id, conversation_id) WHERE closed_at IS NULL;
CALL protect('sessions');

CREATE TABLE turns (
    workspace_id text NOT NULL,
    turn_id text NOT NULL,
    conversation_id text NOT NULL,
    session_id text NOT NULL,
    user_id text NOT NULL,
    status text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'done', 'dead')),
    attempt integer NOT NULL DEFAULT 1,
    token text NOT NULL,
    lease_until timestamptz NOT NULL,
    failure text NOT NULL DEFAULT '',
    metrics jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (workspace_id, turn_id),
    FOREIGN KEY (workspace_id, conversation_id) REFERENCES conversations ON DELETE CASCADE
);
CREATE UNIQUE INDEX one_running_turn ON turns (workspace_id, conversation_id) WHERE status = 'running';
CREATE UNIQUE INDEX turns_by_id ON turns (turn_id);
CREATE INDEX running_turns_by_lease ON turns (lease_until) WHERE status = 'running';
CALL protect('turns');

-- pending: accepted, no turn yet. taken: a turn has it. answered, ignored: done with. dead: set aside with its cause.
CREATE TABLE inbound_updates (
    workspace_id text NOT NULL,
    update_id text NOT NULL,
    account_id text NOT NULL,
    external_id text NOT NULL,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    conversation_key text NOT NULL DEFAULT '',
    kind text NOT NULL DEFAULT '',
    message jsonb,
    payload bytea NOT NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'taken', 'answered', 'ignored', 'dead')),
    turn_id text,
    cause text NOT NULL DEFAULT '',
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, update_id),
    UNIQUE (workspace_id, account_id, external_id)
);
CREATE INDEX pending_updates ON inbound_updates (workspace_id, account_id, conversation_key, seq)
    WHERE status = 'pending';
CREATE INDEX updates_by_turn ON inbound_updates (workspace_id, turn_id) WHERE turn_id IS NOT NULL;
CREATE INDEX dead_updates ON inbound_updates (workspace_id, seq) WHERE status = 'dead';
CALL protect('inbound_updates');

CREATE TABLE messages (
    workspace_id text NOT NULL,
    message_id text NOT NULL,
    conversation_id text NOT NULL,
    session_id text NOT NULL,
    turn_id text NOT NULL,
    user_id text,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    role text NOT NULL CHECK (role IN ('user', 'assistant', 'system')),
    text text NOT NULL,
    message_ref text NOT NULL DEFAULT '',
    citations jsonb NOT NULL DEFAULT '[]',
    retrieval jsonb NOT NULL DEFAULT '{}',
    edited_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, message_id),
    FOREIGN KEY (workspace_id, conversation_id) REFERENCES conversations ON DELETE CASCADE
);
CREATE INDEX messages_in_order ON messages (workspace_id, conversation_id, seq);
CREATE INDEX messages_by_turn ON messages (workspace_id, turn_id);
CALL protect('messages');

-- One row per rendered unit. `unknown` is the honest third state: the request left and nobody knows.
CREATE TABLE outbound_messages (
    workspace_id text NOT NULL,
    outbound_id text NOT NULL,
    account_id text NOT NULL,
    conversation_id text NOT NULL,
    turn_id text NOT NULL,
    message_id text NOT NULL,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    unit jsonb NOT NULL,
    plain text NOT NULL,
    state text NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'sending', 'sent', 'failed', 'unknown')),
    use_plain boolean NOT NULL DEFAULT false,
    attempts integer NOT NULL DEFAULT 0,
    ambiguous integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    token text NOT NULL DEFAULT '',
    lease_until timestamptz,
    receipt jsonb,
    cause text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    PRIMARY KEY (workspace_id, outbound_id),
    FOREIGN KEY (workspace_id, conversation_id) REFERENCES conversations ON DELETE CASCADE
);
CREATE UNIQUE INDEX one_send_at_a_time ON outbound_messages (workspace_id, conversation_id) WHERE state = 'sending';
CREATE INDEX outbound_queue ON outbound_messages (workspace_id, conversation_id, seq)
    WHERE state IN ('pending', 'sending');
CREATE INDEX outbound_due ON outbound_messages (due_at) WHERE state = 'pending';
CREATE INDEX outbound_leases ON outbound_messages (lease_until) WHERE state = 'sending';
CREATE UNIQUE INDEX outbound_by_id ON outbound_messages (outbound_id);
CREATE INDEX outbound_by_message ON outbound_messages (workspace_id, message_id);
CALL protect('outbound_messages');

-- Hop 3. Stores a batch of parsed updates and returns the ids of those that are new. The workspace is the account's,
-- which also stands for a foreign key: one look-up of the account a batch instead of a check a row.
CREATE FUNCTION accept_updates(ids text[], accounts text[], messages jsonb[], payloads bytea[]) RETURNS SETOF text
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    INSERT INTO inbound_updates (workspace_id, update_id, account_id, external_id, conversation_key, kind, message,
                                 payload)
    SELECT a.workspace_id, u.update_id, u.account_id, u.message ->> 'external_id', u.message ->> 'conversation_key',
           u.message ->> 'kind', u.message, u.payload
    FROM unnest(ids, accounts, messages, payloads) WITH ORDINALITY AS u (update_id, account_id, message, payload, n)
    JOIN channel_accounts a USING (account_id)
    ORDER BY u.n
    ON CONFLICT DO NOTHING
    RETURNING inbound_updates.update_id;
END;

-- An update that could not be understood, or not be stored as a message: kept whole, with the cause.
CREATE FUNCTION set_aside(account text, name text, body bytea, why text) RETURNS text
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    INSERT INTO inbound_updates (workspace_id, update_id, account_id, external_id, payload, status, cause)
    SELECT a.workspace_id, new_id('upd'), a.account_id, name, body, 'dead', why
    FROM channel_accounts a WHERE a.account_id = account
    ON CONFLICT DO NOTHING RETURNING inbound_updates.update_id;
END;

-- Hop 5 for one conversation. Returns null when there is nothing to do, {"busy": true} when somebody holds it,
-- otherwise everything that the holder needs. A turn whose lease has ended is taken over as it is, with its own
-- messages, until it has been tried `tries` times; then it is set aside for good and the caller says so to the user.
CREATE FUNCTION open_turn(
    account text, key text, new_token text, lease_seconds double precision, tries integer, memory integer)
    RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    ws text;
    conv conversations;
    turn turns;
    first inbound_updates;
    taken jsonb;
    person text;
    who text;
    ses sessions;
    fresh_user boolean := false;
    told bigint;
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

    -- Texts of one person that piled up are read together, and so are the pictures of an album; anything else is a turn
    -- of its own, in its place in the order.
    -- `= ANY (ARRAY (…))` and not a join: planned while the table was empty, a join would read the whole workspace.
    UPDATE inbound_updates u SET status = 'taken', turn_id = turn.turn_id
    WHERE u.workspace_id = ws AND u.update_id = ANY (ARRAY (
        SELECT q.update_id
        FROM (SELECT p.update_id, p.seq,
                  count(*) FILTER (WHERE p.kind <> first.kind
                      OR p.message #>> '{sender,external_id}' <> first.message #>> '{sender,external_id}')
                      OVER (ORDER BY p.seq) AS breaks
              FROM (SELECT * FROM inbound_updates w
                    WHERE w.workspace_id = ws AND w.account_id = account AND w.conversation_key = key
                        AND w.status = 'pending' ORDER BY w.seq LIMIT 20) p) q
        WHERE q.seq = first.seq OR (first.kind IN ('text', 'unsupported') AND q.breaks = 0)));
    IF NOT FOUND THEN
        -- Between the look for a first update and the turn that now holds the conversation, another holder took it and
        -- was done. A turn without updates must not be: look again, from the start.
        DELETE FROM turns t WHERE t.workspace_id = ws AND t.turn_id = turn.turn_id;
        RETURN open_turn(account, key, new_token, lease_seconds, tries, memory);
    END IF;

    -- A message that is there already belongs to an update that was set aside and is now tried again by hand.
    WITH heard AS (
        INSERT INTO messages AS m (workspace_id, message_id, conversation_id, session_id, turn_id, user_id, role, text,
                                   message_ref)
        SELECT ws, 'msg' || substr(u.update_id, 4), conv.conversation_id, ses.session_id, turn.turn_id, person, 'user',
               CASE WHEN u.kind = 'command' THEN '/' || (u.message ->> 'command') ||
                        CASE WHEN u.message ->> 'text' = '' THEN '' ELSE ' ' || (u.message ->> 'text') END
                    ELSE u.message ->> 'text' END,
               u.message ->> 'message_ref'
        FROM inbound_updates u
        WHERE u.workspace_id = ws AND u.turn_id = turn.turn_id AND u.kind IN ('text', 'command', 'unsupported')
        ORDER BY u.seq
        ON CONFLICT (workspace_id, message_id) DO UPDATE
        SET turn_id = excluded.turn_id, session_id = excluded.session_id
        RETURNING m.message_id, m.text, m.seq, m.xmax = 0 AS fresh
    )
    SELECT count(publish_event(ws, 'chat.message.received', jsonb_build_object(
        'message_id', h.message_id, 'conversation_id', conv.conversation_id, 'session_id', ses.session_id,
        'turn_id', turn.turn_id, 'user_id', person, 'account_id', account, 'text', h.text)) ORDER BY h.seq)
    INTO told FROM heard h WHERE h.fresh;
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

CREATE FUNCTION turn_description(turn turns, conv conversations, exhausted boolean, memory integer) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object(
        'workspace_id', turn.workspace_id, 'turn_id', turn.turn_id, 'token', turn.token, 'attempt', turn.attempt,
        'account_id', conv.account_id, 'conversation_id', conv.conversation_id,
        'conversation_key', conv.conversation_key, 'session_id', turn.session_id, 'user_id', turn.user_id,
        'address', conv.address, 'private', conv.private, 'exhausted', exhausted,
        'updates', (SELECT coalesce(jsonb_agg(u.message ORDER BY u.seq), '[]') FROM inbound_updates u
                    WHERE u.workspace_id = turn.workspace_id AND u.turn_id = turn.turn_id),
        'message_ids', (SELECT coalesce(jsonb_agg(m.message_id ORDER BY m.seq), '[]') FROM messages m
                        WHERE m.workspace_id = turn.workspace_id AND m.turn_id = turn.turn_id AND m.role = 'user'),
        'history', (SELECT coalesce(jsonb_agg(jsonb_build_object('role', h.role, 'text', h.text) ORDER BY h.seq), '[]')
                    FROM (SELECT m.role, m.text, m.seq FROM messages m
                          WHERE m.workspace_id = turn.workspace_id AND m.conversation_id = turn.conversation_id
                              AND m.session_id = turn.session_id AND m.turn_id <> turn.turn_id
                          ORDER BY m.seq DESC LIMIT memory) h));

-- A batch of conversations, each opened on its own: a result, or null.
CREATE FUNCTION open_turns(
    accounts text[], keys text[], tokens text[], lease_seconds double precision, tries integer, memory integer)
    RETURNS SETOF jsonb
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT open_turn(w.account, w.key, w.token, lease_seconds, tries, memory)
    FROM unnest(accounts, keys, tokens) WITH ORDINALITY AS w (account, key, token, n) ORDER BY w.n;
END;

-- Heartbeat. Returns those turns that are still the caller's.
CREATE FUNCTION renew_turns(turn_ids text[], tokens text[], lease_seconds double precision) RETURNS SETOF text
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    UPDATE turns t SET lease_until = now() + make_interval(secs => lease_seconds)
    FROM unnest(turn_ids, tokens) AS held (turn_id, token)
    WHERE t.turn_id = held.turn_id AND t.token = held.token
    RETURNING t.turn_id;
END;

-- Lets go of turns after `delay` seconds: with `refund` the try does not count (a graceful stop), otherwise it does (a
-- step failed and wants a pause).
CREATE FUNCTION yield_turns(turn_ids text[], tokens text[], delays double precision[], refund boolean) RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    UPDATE turns t
    SET lease_until = now() + make_interval(secs => held.delay), attempt = t.attempt - refund::integer
    FROM unnest(turn_ids, tokens, delays) AS held (turn_id, token, delay)
    WHERE t.turn_id = held.turn_id AND t.token = held.token;
END;

-- Hop 7 for one turn, fenced by the token. Where nothing else is on its way to the conversation, the reply's first unit
-- is claimed for sending (with `send_token`) in the same breath, which saves a commit. Returns null when the turn is not the caller's any more; otherwise whether
-- more updates wait in the conversation, and the ids that the result got.
-- result: {"status", "failure", "answer": {"text", "citations", "retrieval"} | null, "units": [{"payload", "plain"}],
--          "snapshot": {}, "metrics": {}, "end_session": bool, "blocked": bool, "edits": [{"message_ref", "text"}]}
CREATE FUNCTION finish_turn(
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
                                           unit, plain, state, token, lease_until, attempts)
            VALUES (turn.workspace_id, new_id('out'), conv.account_id, turn.conversation_id, turn.turn_id, message,
                    unit -> 'payload', unit ->> 'plain', CASE WHEN way_is_free THEN 'sending' ELSE 'pending' END,
                    CASE WHEN way_is_free THEN send_token ELSE '' END,
                    CASE WHEN way_is_free THEN now() + make_interval(secs => lease_seconds) END,
                    way_is_free::integer)
            RETURNING outbound_id INTO unit_id;
            IF way_is_free THEN
                claimed := unit_id;
            END IF;
            way_is_free := false;
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

CREATE FUNCTION finish_turns(
    turn_ids text[], tokens text[], results jsonb[], send_token text, lease_seconds double precision)
    RETURNS SETOF jsonb
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT finish_turn(f.turn_id, f.token, f.result, send_token, lease_seconds)
    FROM unnest(turn_ids, tokens, results) WITH ORDINALITY AS f (turn_id, token, result, n) ORDER BY f.n;
END;

-- Conversations that nobody looks after: updates that waited longer than `age`, and turns whose lease has ended.
CREATE FUNCTION forgotten_conversations(age double precision, most integer)
    RETURNS TABLE (account_id text, conversation_key text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    (SELECT c.account_id, c.conversation_key
     FROM turns t JOIN conversations c USING (workspace_id, conversation_id)
     WHERE t.status = 'running' AND t.lease_until < now() LIMIT most)
    UNION
    (SELECT u.account_id, u.conversation_key
     FROM (SELECT * FROM inbound_updates p
           WHERE p.status = 'pending' AND p.received_at < now() - make_interval(secs => age)
           ORDER BY p.received_at LIMIT most * 20) u
     LIMIT most);
END;

-- Hop 8. Takes the oldest due unit of each conversation, unless one of it is under way or an older one must come first.
CREATE FUNCTION claim_outbound(workspaces text[], conversation_ids text[], new_token text, lease_seconds double precision)
    RETURNS TABLE (workspace_id text, outbound_id text, account_id text, conversation_id text, message_id text,
                   unit jsonb, plain text, use_plain boolean, attempts integer, ambiguous integer, address jsonb)
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
           c.attempts, c.ambiguous, v.address
    FROM claimed c JOIN conversations v USING (workspace_id, conversation_id);
END $$;

-- Heartbeat of sends under way, so that a dead sender is noticed soon however long a platform may take to answer.
CREATE FUNCTION renew_outbound(outbound_ids text[], tokens text[], lease_seconds double precision) RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    UPDATE outbound_messages o SET lease_until = now() + make_interval(secs => lease_seconds)
    FROM unnest(outbound_ids, tokens) AS held (outbound_id, token)
    WHERE o.outbound_id = held.outbound_id AND o.token = held.token;
END;

-- What came of a batch of sends, fenced by token. For each applied one: whether the conversation has more to send.
CREATE FUNCTION record_outbound(
    outbound_ids text[], tokens text[], states text[], receipts jsonb[], causes text[], delays double precision[],
    plains boolean[], ambiguities integer[])
    RETURNS TABLE (outbound_id text, more boolean)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    RETURN QUERY
    WITH applied AS (
        UPDATE outbound_messages o
        SET state = r.state, receipt = coalesce(r.receipt, o.receipt), cause = r.cause, lease_until = NULL,
            due_at = now() + make_interval(secs => r.delay), use_plain = o.use_plain OR r.plain,
            ambiguous = o.ambiguous + r.ambiguous, sent_at = CASE WHEN r.state = 'sent' THEN now() END, token = ''
        FROM unnest(outbound_ids, tokens, states, receipts, causes, delays, plains, ambiguities)
            AS r (outbound_id, token, state, receipt, cause, delay, plain, ambiguous)
        WHERE o.outbound_id = r.outbound_id AND o.token = r.token AND r.token <> ''
        RETURNING o.*
    ), told AS (
        SELECT publish_event(a.workspace_id,
                CASE a.state WHEN 'sent' THEN 'chat.response.delivered' ELSE 'chat.response.failed' END,
                jsonb_build_object('message_id', a.message_id, 'outbound_id', a.outbound_id,
                    'conversation_id', a.conversation_id, 'account_id', a.account_id, 'receipt', a.receipt)
                || CASE a.state WHEN 'sent' THEN '{}'::jsonb
                    ELSE jsonb_build_object('reason', a.cause, 'state', a.state) END) AS event_id
        FROM applied a
        WHERE a.state IN ('failed', 'unknown')
            OR (a.state = 'sent' AND NOT EXISTS (
                SELECT FROM outbound_messages o
                WHERE o.workspace_id = a.workspace_id AND o.message_id = a.message_id AND o.outbound_id <> a.outbound_id
                    AND o.state IN ('pending', 'sending')))
    )
    SELECT a.outbound_id, EXISTS (
        SELECT FROM outbound_messages o
        WHERE o.workspace_id = a.workspace_id AND o.conversation_id = a.conversation_id AND o.seq > a.seq
            AND o.state IN ('pending', 'sending'))
    FROM applied a WHERE (SELECT count(*) FROM told) >= 0;
END $$;

-- Sends whose holder is gone. Where the platform shows a repeat once, or the workspace prefers a doubled message to a
-- missing one, they are due again; otherwise they stay `unknown` for a person to decide.
CREATE FUNCTION reap_outbound(idempotent_kinds text[])
    RETURNS TABLE (workspace_id text, conversation_id text, state text)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    WITH reaped AS (
        UPDATE outbound_messages o
        SET state = CASE WHEN a.kind = ANY (idempotent_kinds) OR a.settings ->> 'unknown_sends' IS DISTINCT FROM 'hold'
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

-- Conversations with something due to send, oldest first.
CREATE FUNCTION due_outbound(age double precision, most integer)
    RETURNS TABLE (workspace_id text, conversation_id text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT DISTINCT o.workspace_id, o.conversation_id
    FROM (SELECT * FROM outbound_messages p
          WHERE p.state = 'pending' AND p.due_at < now() - make_interval(secs => age)
          ORDER BY p.due_at LIMIT most) o;
END;

-- A group became a supergroup: same place, new id. A conversation that already exists there keeps its own.
CREATE FUNCTION rekey_conversations(account text, old_chat text, new_chat text) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE moved integer;
BEGIN
    UPDATE conversations c
    SET conversation_key = new_chat || substr(c.conversation_key, length(old_chat) + 1),
        address = c.address || jsonb_build_object('chat_id', new_chat::bigint)
    WHERE c.account_id = account AND (c.conversation_key = old_chat OR starts_with(c.conversation_key, old_chat || ':'))
        AND NOT EXISTS (SELECT FROM conversations o
                        WHERE o.workspace_id = c.workspace_id AND o.account_id = account
                            AND o.conversation_key = new_chat || substr(c.conversation_key, length(old_chat) + 1));
    GET DIAGNOSTICS moved = ROW_COUNT;
    UPDATE inbound_updates u
    SET conversation_key = new_chat || substr(u.conversation_key, length(old_chat) + 1)
    WHERE u.account_id = account AND u.status = 'pending'
        AND (u.conversation_key = old_chat OR starts_with(u.conversation_key, old_chat || ':'));
    RETURN moved;
END $$;

-- Rows pass through their partial indexes several times in a short life; vacuumed late, every look-up would step over
-- the dead entries of all that went before.
ALTER TABLE inbound_updates SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE turns SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE outbound_messages SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- People: what they think of answers, how their identities become one person and two again, whom a bot lets in, and
-- which knowledge may be shown in public.

-- One opinion of each person on each answer. It can be changed, and taken back, which removes the row.
CREATE TABLE feedback (
    workspace_id text NOT NULL,
    feedback_id text NOT NULL,
    message_id text NOT NULL,
    user_id text NOT NULL,
    rating text NOT NULL CHECK (rating IN ('up', 'down')),
    comment text NOT NULL DEFAULT '',
    source text NOT NULL CHECK (source IN ('button', 'reaction', 'api')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, feedback_id),
    UNIQUE (workspace_id, message_id, user_id),
    FOREIGN KEY (workspace_id, message_id) REFERENCES messages ON DELETE CASCADE,
    FOREIGN KEY (workspace_id, user_id) REFERENCES users
);
CREATE INDEX feedback_by_user ON feedback (workspace_id, user_id);
CALL protect('feedback');

-- The code that a person may enter elsewhere, as a keyed hash: one at a time, gone when it is used.
CREATE TABLE link_codes (
    workspace_id text NOT NULL,
    user_id text NOT NULL,
    code_hash bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, user_id),
    UNIQUE (workspace_id, code_hash),
    FOREIGN KEY (workspace_id, user_id) REFERENCES users
);
CALL protect('link_codes');

-- A code was entered and its bearer was shown what it would join: `shown` are the identities on both sides.
CREATE TABLE link_offers (
    workspace_id text NOT NULL,
    identity_id text NOT NULL,
    into_user text NOT NULL,
    code_hash bytea NOT NULL,
    shown text[] NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, identity_id),
    FOREIGN KEY (workspace_id, identity_id) REFERENCES identities ON DELETE CASCADE,
    FOREIGN KEY (workspace_id, into_user) REFERENCES users
);
CALL protect('link_offers');

-- What was joined, so that it can be taken apart. `origin` is the turn that confirmed it.
CREATE TABLE identity_links (
    workspace_id text NOT NULL,
    link_id text NOT NULL,
    identity_id text NOT NULL,
    from_user text NOT NULL,
    into_user text NOT NULL,
    origin text NOT NULL,
    linked_at timestamptz NOT NULL DEFAULT now(),
    unlinked_at timestamptz,
    PRIMARY KEY (workspace_id, link_id),
    FOREIGN KEY (workspace_id, identity_id) REFERENCES identities ON DELETE CASCADE,
    FOREIGN KEY (workspace_id, from_user) REFERENCES users,
    FOREIGN KEY (workspace_id, into_user) REFERENCES users
);
CREATE INDEX identity_links_by_identity ON identity_links (workspace_id, identity_id);
CALL protect('identity_links');

-- The private conversations that this identity has, as against its person's other identities on the same account. Whose
-- a conversation is then tells the last one who spoke in it.
CREATE FUNCTION places_of(ws text, identity text) RETURNS SETOF text
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT c.conversation_id
    FROM identities i
    JOIN conversations c ON c.workspace_id = i.workspace_id AND c.account_id = i.account_id AND c.user_id = i.user_id
    WHERE i.workspace_id = ws AND i.identity_id = identity AND c.private
        AND (NOT EXISTS (SELECT FROM identities o
                         WHERE o.workspace_id = ws AND o.user_id = i.user_id AND o.account_id = i.account_id
                             AND o.identity_id <> i.identity_id)
            OR i.external_id = coalesce((
                SELECT u.message #>> '{sender,external_id}'
                FROM messages m JOIN inbound_updates u USING (workspace_id, turn_id)
                WHERE m.workspace_id = ws AND m.conversation_id = c.conversation_id AND m.role = 'user'
                ORDER BY m.seq DESC LIMIT 1), c.conversation_key));
END;

-- Gives an identity to another person, with its private conversations, their open sessions and running turns, and what
-- was said and rated on its account. Returns the person who had it.
CREATE FUNCTION move_identity(ws text, identity text, into_user text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    moved identities;
    sole boolean;
    places text[];
BEGIN
    SELECT * INTO moved FROM identities i WHERE i.workspace_id = ws AND i.identity_id = identity FOR UPDATE;
    IF NOT FOUND OR moved.user_id = into_user THEN
        RETURN moved.user_id;
    END IF;
    sole := NOT EXISTS (
        SELECT FROM identities o WHERE o.workspace_id = ws AND o.user_id = moved.user_id
            AND o.account_id = moved.account_id AND o.identity_id <> identity);
    places := ARRAY (SELECT * FROM places_of(ws, identity));

    UPDATE identities i SET user_id = into_user WHERE i.workspace_id = ws AND i.identity_id = identity;
    UPDATE turns t SET user_id = into_user
    FROM conversations c
    WHERE t.workspace_id = ws AND t.status = 'running' AND t.user_id = moved.user_id
        AND c.workspace_id = ws AND c.conversation_id = t.conversation_id AND c.account_id = moved.account_id
        AND (sole OR spoke(t.workspace_id, t.turn_id, moved.external_id));
    IF sole THEN  -- the groups that this person was the first to speak in
        places := places || ARRAY (
            SELECT c.conversation_id FROM conversations c
            WHERE c.workspace_id = ws AND c.account_id = moved.account_id AND c.user_id = moved.user_id);
    END IF;
    UPDATE conversations c SET user_id = into_user WHERE c.workspace_id = ws AND c.conversation_id = ANY (places);
    UPDATE sessions s SET user_id = into_user
    FROM conversations c
    WHERE s.workspace_id = ws AND s.user_id = moved.user_id AND s.closed_at IS NULL
        AND c.workspace_id = ws AND c.conversation_id = s.conversation_id AND c.account_id = moved.account_id
        AND (sole OR c.conversation_id = ANY (places));
    UPDATE messages m SET user_id = into_user
    WHERE m.workspace_id = ws AND m.conversation_id = ANY (places) AND m.user_id = moved.user_id;
    UPDATE messages m SET user_id = into_user
    FROM conversations c
    WHERE c.workspace_id = ws AND c.account_id = moved.account_id AND NOT c.private
        AND m.workspace_id = ws AND m.conversation_id = c.conversation_id AND m.user_id = moved.user_id
        AND (sole OR spoke(m.workspace_id, m.turn_id, moved.external_id));
    PERFORM move_feedback(ws, moved, into_user, sole, places);
    RETURN moved.user_id;
END $$;

CREATE FUNCTION spoke(ws text, turn text, who text) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN EXISTS (SELECT FROM inbound_updates u
                   WHERE u.workspace_id = ws AND u.turn_id = turn AND u.message #>> '{sender,external_id}' = who);

-- Where both persons rated one answer, the later word counts.
CREATE FUNCTION move_feedback(ws text, moved identities, into_user text, sole boolean, places text[]) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    theirs text[] := ARRAY (
        SELECT f.feedback_id
        FROM feedback f JOIN messages m USING (workspace_id, message_id) JOIN conversations c USING (workspace_id, conversation_id)
        WHERE f.workspace_id = ws AND f.user_id = moved.user_id AND c.account_id = moved.account_id
            AND (sole OR c.conversation_id = ANY (places)));
BEGIN
    DELETE FROM feedback f USING feedback o
    WHERE f.workspace_id = ws AND o.workspace_id = ws AND f.message_id = o.message_id AND f.feedback_id <> o.feedback_id
        AND ((f.feedback_id = ANY (theirs) AND o.user_id = into_user AND f.updated_at <= o.updated_at)
            OR (o.feedback_id = ANY (theirs) AND f.user_id = into_user AND f.updated_at < o.updated_at));
    UPDATE feedback f SET user_id = into_user WHERE f.workspace_id = ws AND f.feedback_id = ANY (theirs);
END $$;

-- Makes one person of two. Whoever is offered to become the one that is gone is now offered the one that is left.
CREATE FUNCTION link_people(ws text, gone text, into_user text, turn text) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
DECLARE identity text;
BEGIN
    FOR identity IN SELECT i.identity_id FROM identities i
                    WHERE i.workspace_id = ws AND i.user_id = gone ORDER BY i.identity_id LOOP
        PERFORM move_identity(ws, identity, into_user);
        INSERT INTO identity_links (workspace_id, link_id, identity_id, from_user, into_user, origin)
        VALUES (ws, new_id('lnk'), identity, gone, into_user, turn);
        RETURN NEXT identity;
    END LOOP;
    DELETE FROM link_codes c WHERE c.workspace_id = ws AND c.user_id = gone;
    UPDATE link_offers o SET into_user = link_people.into_user WHERE o.workspace_id = ws AND o.into_user = gone;
END $$;

-- A turn that was being opened while two people were joined may still name the one that is gone, who has no identity any
-- more: what is theirs is the other's. Nothing happens when that person has identities again.
CREATE FUNCTION move_stragglers(ws text, gone text, into_user text) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE places text[];
BEGIN
    IF EXISTS (SELECT FROM identities i WHERE i.workspace_id = ws AND i.user_id = gone) THEN
        RETURN;
    END IF;
    UPDATE turns t SET user_id = into_user WHERE t.workspace_id = ws AND t.status = 'running' AND t.user_id = gone;
    UPDATE sessions s SET user_id = into_user WHERE s.workspace_id = ws AND s.user_id = gone AND s.closed_at IS NULL;
    UPDATE conversations c SET user_id = into_user WHERE c.workspace_id = ws AND c.user_id = gone AND c.private;
    places := ARRAY (SELECT c.conversation_id FROM conversations c
                     WHERE c.workspace_id = ws AND c.user_id = into_user AND c.private);
    UPDATE messages m SET user_id = into_user
    WHERE m.workspace_id = ws AND m.conversation_id = ANY (places) AND m.user_id = gone;
END $$;

-- Who may use a bot that lets in paired people only, and who has asked. The code is no secret of ours: it shows the
-- operator that the one who asks is the one they are talking to, and only an operator can use it.
CREATE TABLE pairings (
    workspace_id text NOT NULL,
    pairing_id text NOT NULL,
    account_id text NOT NULL,
    external_id text NOT NULL,
    conversation_id text NOT NULL,
    name text NOT NULL DEFAULT '',
    username text NOT NULL DEFAULT '',
    code text NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    paired_at timestamptz,
    PRIMARY KEY (workspace_id, pairing_id),
    UNIQUE (workspace_id, account_id, external_id),
    FOREIGN KEY (workspace_id, account_id) REFERENCES channel_accounts ON DELETE CASCADE
);
CALL protect('pairings');

-- Asked at the way in, before there is a person.
CREATE FUNCTION is_paired(account text, sender text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT EXISTS (
        SELECT FROM channel_accounts a
        JOIN pairings p ON p.workspace_id = a.workspace_id AND p.account_id = a.account_id
        WHERE a.account_id = account AND p.external_id = sender AND p.paired_at IS NOT NULL);
END;

-- Whether the bot takes part in this conversation, or is about to: what it has taken up may still wait for its turn.
CREATE OR REPLACE FUNCTION has_joined(account text, key text) RETURNS boolean
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

-- As before, without commands and what was said to them: arranging things is no part of a conversation, and would push
-- what was asked out of memory. Words that no turn asked for are remembered.
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
                                  ELSE x.retrieval <> '{}' OR x.turn_id = '' END
                      ORDER BY x.seq DESC LIMIT memory) m
                  ORDER BY m.seq DESC LIMIT memory) h);

-- private: seen in one-to-one chats and by API callers only.
ALTER TABLE collections
    ADD COLUMN visibility text NOT NULL DEFAULT 'public' CHECK (visibility IN ('public', 'private'));

-- As before; with `public_only` private collections are not even looked at, so they do not weigh in scores either.
DROP FUNCTION search_chunks(text, text[], text[], real[], halfvec, real, integer, boolean, jsonb, boolean);
CREATE FUNCTION search_chunks(of_workspace text, of_collections text[], texts text[], weights real[], meaning halfvec,
                              alpha real, wanted integer, by_document boolean DEFAULT false, filter jsonb DEFAULT NULL,
                              exact boolean DEFAULT NULL, public_only boolean DEFAULT false)
    RETURNS TABLE (chunk_id text, document_id text, external_id text, title text, heading text, content text,
                   char_start integer, char_end integer, score real, dense_score real, bm25_score real, metadata jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    query record;
    needed jsonb := nullif(filter, '{}');
    everything boolean;
BEGIN
    IF of_workspace IS DISTINCT FROM current_workspace() THEN
        RAISE insufficient_privilege USING MESSAGE = 'search_chunks: not the current workspace';
    END IF;
    IF public_only IS NOT FALSE THEN
        of_collections := ARRAY (
            SELECT c.collection_id FROM collections c
            WHERE c.workspace_id = of_workspace AND c.visibility = 'public'
                AND (of_collections IS NULL OR c.collection_id = ANY (of_collections)));
    END IF;
    everything := needed IS NOT NULL OR coalesce(exact, reads_all(of_workspace, of_collections));
    SELECT * INTO query FROM lexical_query(of_workspace, of_collections, texts, weights, 2000);
    RETURN QUERY
    WITH scored AS MATERIALIZED (
        SELECT * FROM score_all_chunks(of_workspace, of_collections, meaning, query.impacts, needed) WHERE everything
        UNION ALL
        SELECT * FROM score_candidates(of_workspace, of_collections, meaning, query.impacts, query.words)
        WHERE NOT everything
    ), best AS (
        SELECT greatest(max(dense), 1e-6) AS dense, greatest(max(bm25), 1e-6) AS bm25 FROM scored
    ), fused AS (
        SELECT s.*, ((1 - alpha) * s.bm25 / best.bm25 + alpha * s.dense / best.dense)::real AS score
        FROM scored s CROSS JOIN best
    ), ranked AS (
        SELECT f.*, CASE WHEN by_document
            THEN row_number() OVER (PARTITION BY f.document_id ORDER BY f.score DESC, f.chunk_id) ELSE 1 END AS place
        FROM fused f
    ), top AS (
        SELECT * FROM ranked WHERE place = 1 ORDER BY score DESC, chunk_id LIMIT wanted
    )
    SELECT t.chunk_id, t.document_id, d.external_id, d.title, c.heading, c.content, c.char_start, c.char_end,
        t.score, t.dense, t.bm25, c.metadata
    FROM top t  -- LIMIT 1 keeps the few look-ups look-ups, whatever the planner believes of their number
    CROSS JOIN LATERAL (
        SELECT * FROM chunks WHERE workspace_id = of_workspace AND chunk_id = t.chunk_id LIMIT 1) AS c
    CROSS JOIN LATERAL (
        SELECT * FROM documents WHERE workspace_id = of_workspace AND document_id = t.document_id LIMIT 1) AS d
    ORDER BY t.score DESC, t.chunk_id;
END $$;

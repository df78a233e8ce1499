-- Which endpoint is owed which event, and in what form.
--
-- What an endpoint asks for is judged once, when the event is stored, in the transaction that it happened in: channels
-- and conditions against the event's data, and where it wants less than all of it, the bytes it is to get. So every try
-- sends the same bytes, and nothing that an endpoint may not see leaves the database for it.

-- Every pattern that a subscription could use to ask for this type; * stands for one or more parts of it. For chat.a:
-- chat.a, *.a, * and chat.*. In plpgsql, like the next one: called once for each event, a query of its own would cost more
-- than all the rest.
CREATE OR REPLACE FUNCTION patterns_for(event_type text) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    words text[] := string_to_array(event_type, '.');
    found text[] := ARRAY[event_type];
BEGIN
    FOR a IN 1..cardinality(words) LOOP
        FOR b IN a..cardinality(words) LOOP
            found := found || array_to_string(words[:a - 1] || '*'::text || words[b + 1:], '.');
        END LOOP;
    END LOOP;
    RETURN found;
END $$;

-- An event about a conversation or a bot tells of which bot and on which channel, where its publisher did not.
CREATE FUNCTION event_place(workspace text, data jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    account text := data ->> 'account_id';
    kind text;
BEGIN
    IF account IS NULL AND data ? 'conversation_id' THEN
        account := (SELECT c.account_id FROM conversations c
                    WHERE c.workspace_id = workspace AND c.conversation_id = data ->> 'conversation_id');
    END IF;
    IF account IS NULL THEN
        RETURN data;
    END IF;
    kind := (SELECT a.kind FROM channel_accounts a WHERE a.workspace_id = workspace AND a.account_id = account);
    RETURN jsonb_strip_nulls(jsonb_build_object('account_id', account, 'channel', kind)) || data;
END $$;

-- What an endpoint's `channels` are compared with: the platform, the account and the conversation.
CREATE FUNCTION event_channels(data jsonb) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY[data ->> 'channel', data ->> 'account_id', data ->> 'conversation_id'];

-- Whether an endpoint wants an event of a type that it asked for. It is not told of its own trouble: what it cannot take
-- would only add to what it owes. A condition that cannot be judged, for want of a member, is not met.
CREATE FUNCTION webhook_accepts(w webhooks, event_type text, data jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (w.channels IS NULL OR w.channels && event_channels(data))
        AND (w.condition_path IS NULL OR data @@ w.condition_path)
        AND (event_type <> ALL ('{webhook.failing,webhook.warned,delivery.exhausted}')
             OR data ->> 'webhook_id' IS DISTINCT FROM w.webhook_id);

-- The same, type and all, whether it is enabled or not.
CREATE FUNCTION webhook_wants(w webhooks, event_type text, data jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN w.events && patterns_for(event_type) AND webhook_accepts(w, event_type, data);

-- Ids, and the channel.
CREATE FUNCTION thin(data jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(data)
            WHERE key LIKE '%\_id' OR key = 'channel');

-- Whatever lies at this path, in every element where there is an array on the way.
CREATE FUNCTION redact_path(value jsonb, path text[]) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF cardinality(path) = 0 THEN
        RETURN '"[redacted]"';
    ELSIF jsonb_typeof(value) = 'array' THEN
        RETURN coalesce((SELECT jsonb_agg(redact_path(item, path) ORDER BY n)
                         FROM jsonb_array_elements(value) WITH ORDINALITY AS items (item, n)), '[]');
    ELSIF jsonb_typeof(value) = 'object' AND value ? path[1] THEN
        RETURN value || jsonb_build_object(path[1], redact_path(value -> path[1], path[2:]));
    END IF;
    RETURN value;
END $$;

CREATE FUNCTION redacted(data jsonb, paths text[]) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    path text;
BEGIN
    FOREACH path IN ARRAY
        CASE paths WHEN '{}' THEN '{text,comment,summary,title,reason,citations,files}' ELSE paths END
    LOOP
        data := redact_path(data, string_to_array(path, '.'));
    END LOOP;
    RETURN data;
END $$;

-- What an endpoint gets to see of an event's data where that is not all of it, else NULL.
CREATE FUNCTION webhook_form(w webhooks, data jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE w.payload_mode WHEN 'thin' THEN thin(data) WHEN 'redacted' THEN redacted(data, w.redact) END;

-- The lane in which an endpoint gets its deliveries one after the other; NULL when it does not ask for order.
CREATE FUNCTION webhook_lane(w webhooks, data jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE w.ordering WHEN 'conversation' THEN coalesce(data ->> 'conversation_id', '') END;

-- For events that are stored already, by their bytes: the data with its place; and the bytes that an endpoint is to get
-- where they are not the event's own, else NULL.
CREATE FUNCTION event_data(body bytea) RETURNS jsonb
    LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    event jsonb := convert_from(body, 'UTF8')::jsonb;
BEGIN
    RETURN event_place(event ->> 'workspace_id', event -> 'data');
END $$;

CREATE FUNCTION delivery_body(w webhooks, body bytea) RETURNS bytea
    LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    event jsonb;
BEGIN
    IF w.payload_mode = 'full' THEN
        RETURN NULL;
    END IF;
    event := convert_from(body, 'UTF8')::jsonb;
    RETURN event_body(event ->> 'id', event ->> 'type', event ->> 'workspace_id', (event ->> 'timestamp')::timestamptz,
        webhook_form(w, event_place(event ->> 'workspace_id', event -> 'data')));
END $$;

-- As before; events tell of their place, and each endpoint gets what it asked for, as it asked for it.
CREATE OR REPLACE FUNCTION publish_events(workspaces text[], types text[], datas jsonb[]) RETURNS text[]
    LANGUAGE plpgsql AS $$
DECLARE
    ids text[];
    whole jsonb[];
    given jsonb;
    at timestamptz := clock_timestamp();
BEGIN
    FOREACH given IN ARRAY datas LOOP
        IF jsonb_typeof(given) IS DISTINCT FROM 'object' OR pg_column_size(given) > 1048576 THEN
            RAISE 'the data of an event is an object of at most 1 MiB' USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;

    WITH fresh AS MATERIALIZED (
        SELECT n, workspace, type, event_place(workspace, data) AS data, new_id('evt') AS id
        FROM unnest(workspaces, types, datas) WITH ORDINALITY AS given (workspace, type, data, n)
    ), stored AS (
        INSERT INTO events (workspace_id, event_id, type, body)
        SELECT workspace, id, type, event_body(id, type, workspace, at, data) FROM fresh
    )
    SELECT array_agg(id ORDER BY n), array_agg(data ORDER BY n) INTO ids, whole FROM fresh;

    IF NOT EXISTS (SELECT FROM webhooks w WHERE w.workspace_id = ANY (workspaces) AND w.status = 'enabled') THEN
        RETURN ids;
    END IF;
    INSERT INTO webhook_deliveries (workspace_id, delivery_id, event_id, event_type, webhook_id, body, ordering_key)
    SELECT w.workspace_id, new_id('dlv'), told.id, told.type, w.webhook_id,
        CASE w.payload_mode WHEN 'full' THEN NULL
            ELSE event_body(told.id, told.type, told.workspace, at, webhook_form(w, told.data)) END,
        webhook_lane(w, told.data)
    FROM (SELECT workspace, type, id, data, n, patterns_for(type) AS patterns
          FROM unnest(workspaces, types, ids, whole) WITH ORDINALITY AS told (workspace, type, id, data, n) OFFSET 0) AS told
    JOIN webhooks w ON w.workspace_id = told.workspace AND w.status = 'enabled'
    WHERE w.events && told.patterns AND webhook_accepts(w, told.type, told.data)
    ORDER BY told.n;  -- in which a lane's deliveries are counted
    IF FOUND THEN
        PERFORM pg_notify('parley_deliveries', '');
    END IF;
    RETURN ids;
END $$;

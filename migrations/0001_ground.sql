-- The ground: roles, isolation, ids, organizations, workspaces, keys, accounts and people.
--
-- Three roles. `parley_owner` owns every table and function and cannot log in; as owner (row security is enabled but
-- not forced) it is exempt, so SECURITY DEFINER functions of its may span workspaces. `parley_app` is what login roles
-- are granted: it owns nothing and every policy applies to it. The runner has created both before this file runs
-- and has switched to `parley_owner`.

-- Of the random UUID the 20 hex digits that are random: its version and variant are cut out with the middle.
CREATE FUNCTION new_id(prefix text) RETURNS text
    LANGUAGE sql VOLATILE PARALLEL SAFE
    RETURN prefix || '_' || lpad(to_hex((date_part('epoch', clock_timestamp()) * 1000)::bigint), 12, '0')
        || overlay(gen_random_uuid()::text PLACING '' FROM 9 FOR 16);

-- The workspace this transaction acts for. After SET LOCAL ends the setting is '' and not NULL, hence NULLIF.
CREATE FUNCTION current_workspace() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(current_setting('app.workspace_id', true), '');

-- Puts a table under row security: rows of the current workspace, nothing otherwise.
CREATE PROCEDURE protect(tab regclass, privileges text DEFAULT 'SELECT, INSERT, UPDATE, DELETE')
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', tab);
    EXECUTE format('CREATE POLICY workspace_only ON %s USING (workspace_id = current_workspace())', tab);
    EXECUTE format('GRANT %s ON %s TO parley_app', privileges, tab);
END $$;

CREATE TABLE organizations (
    organization_id text PRIMARY KEY,
    slug text NOT NULL UNIQUE,
    name text NOT NULL,
    plan text NOT NULL DEFAULT 'free',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE workspaces (
    workspace_id text PRIMARY KEY,
    organization_id text NOT NULL REFERENCES organizations,
    slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    name text NOT NULL,
    settings jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);
CALL protect('workspaces', 'SELECT, UPDATE');

CREATE TABLE api_keys (
    workspace_id text NOT NULL REFERENCES workspaces,
    key_id text NOT NULL,
    public_id text NOT NULL UNIQUE,
    secret_hash bytea NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    PRIMARY KEY (workspace_id, key_id)
);
CALL protect('api_keys');

-- Who calls is known only after this look-up, so it cannot run under a workspace.
CREATE FUNCTION find_api_key(wanted text)
    RETURNS TABLE (workspace_id text, key_id text, secret_hash bytea, scopes text[], expires_at timestamptz,
                   revoked_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT k.workspace_id, k.key_id, k.secret_hash, k.scopes, k.expires_at, k.revoked_at
    FROM api_keys k WHERE k.public_id = wanted;
END;

CREATE TABLE users (
    workspace_id text NOT NULL REFERENCES workspaces,
    user_id text NOT NULL,
    display_name text NOT NULL DEFAULT '',
    language text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, user_id)
);
CALL protect('users');

CREATE TABLE channel_accounts (
    workspace_id text NOT NULL REFERENCES workspaces,
    account_id text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    mode text NOT NULL CHECK (mode IN ('webhook', 'polling', 'socket', 'api')),
    status text NOT NULL DEFAULT 'connected' CHECK (status IN ('connected', 'failed', 'disconnected')),
    failure text NOT NULL DEFAULT '',
    sealed_credentials bytea,
    settings jsonb NOT NULL DEFAULT '{}',
    profile jsonb NOT NULL DEFAULT '{}',
    version integer NOT NULL DEFAULT 1,
    poll_offset bigint NOT NULL DEFAULT 0,
    poll_token text NOT NULL DEFAULT '',
    poll_lease_until timestamptz NOT NULL DEFAULT '-infinity',
    last_inbound_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, account_id),
    UNIQUE (account_id)
);
CALL protect('channel_accounts');

CREATE TABLE identities (
    workspace_id text NOT NULL,
    identity_id text NOT NULL,
    account_id text NOT NULL,
    external_id text NOT NULL,
    user_id text NOT NULL,
    username text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, identity_id),
    UNIQUE (workspace_id, account_id, external_id),
    FOREIGN KEY (workspace_id, account_id) REFERENCES channel_accounts ON DELETE CASCADE,
    FOREIGN KEY (workspace_id, user_id) REFERENCES users
);
CREATE INDEX identities_by_user ON identities (workspace_id, user_id);
CALL protect('identities');

-- An inbound request names an account, not a workspace.
CREATE FUNCTION find_account(wanted text) RETURNS SETOF channel_accounts
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT * FROM channel_accounts WHERE account_id = wanted AND status <> 'disconnected';
END;

CREATE FUNCTION accounts_to_poll() RETURNS SETOF channel_accounts
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    SELECT * FROM channel_accounts
    WHERE mode = 'polling' AND status <> 'disconnected' AND poll_lease_until < now();
END;

-- One poller per bot over all processes: the caller polls while it holds the token.
CREATE FUNCTION lease_poll(wanted text, token text, seconds double precision) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE channel_accounts
    SET poll_token = token, poll_lease_until = now() + make_interval(secs => seconds)
    WHERE account_id = wanted AND mode = 'polling' AND status <> 'disconnected'
        AND (poll_token = token OR poll_lease_until < now());
    RETURN FOUND;
END $$;

CREATE FUNCTION advance_poll(wanted text, token text, next_offset bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE channel_accounts SET poll_offset = next_offset, last_inbound_at = now()
    WHERE account_id = wanted AND poll_token = token AND poll_offset < next_offset;
    RETURN FOUND;
END $$;

CREATE FUNCTION release_poll(wanted text, token text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    UPDATE channel_accounts SET poll_lease_until = '-infinity' WHERE account_id = wanted AND poll_token = token;
END;

-- A new installation, or a workspace that an owner adds. Idempotent by slug: an existing one is returned unchanged.
CREATE FUNCTION create_workspace(organization_slug text, wanted_slug text, wanted_name text)
    RETURNS TABLE (workspace_id text, created boolean)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    org text;
    ws text;
BEGIN
    INSERT INTO organizations (organization_id, slug, name)
    VALUES (new_id('org'), organization_slug, organization_slug) ON CONFLICT (slug) DO NOTHING;
    SELECT o.organization_id INTO org FROM organizations o WHERE o.slug = organization_slug;
    INSERT INTO workspaces (workspace_id, organization_id, slug, name)
    VALUES (new_id('ws'), org, wanted_slug, wanted_name) ON CONFLICT (slug) DO NOTHING
    RETURNING workspaces.workspace_id INTO ws;
    created := ws IS NOT NULL;
    IF NOT created THEN
        SELECT w.workspace_id INTO ws FROM workspaces w
        WHERE w.slug = wanted_slug AND w.organization_id = org;
    END IF;
    workspace_id := ws;
    RETURN NEXT;
END $$;

-- Start-up refuses to run when this returns a row.
CREATE FUNCTION unprotected_tables() RETURNS SETOF text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT c.relname::text
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'workspace_id' AND a.attnum > 0
    WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
        AND (NOT c.relrowsecurity OR NOT EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid));
END;

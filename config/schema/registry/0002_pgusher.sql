-- What pgusher keeps for itself. No secret is stored in the clear: login passwords are derived,
-- API keys are SCRAM verifiers, refresh tokens are digests.

CREATE SCHEMA IF NOT EXISTS pgusher;
REVOKE ALL ON SCHEMA pgusher FROM PUBLIC;

-- The PostgreSQL servers tenants were placed on, by the name the configuration gives them.
CREATE TABLE pgusher.servers (
    name text PRIMARY KEY,
    host text NOT NULL,
    port integer NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now()
);

-- pgusher's side of a tenant. A tenant without a row here, or with managed = false, was adopted:
-- its databaseUrl is used as found. Limits are overrides; null means the plan's.
CREATE TABLE pgusher.tenants (
    tenant_id text PRIMARY KEY,
    managed boolean NOT NULL DEFAULT false,
    server text,
    key_version integer NOT NULL DEFAULT 1,
    pool_mode text CHECK (pool_mode IN ('transaction', 'session')),
    suspended_at timestamptz,
    suspended_reason text,
    server_max integer CHECK (server_max >= 0),
    server_min integer CHECK (server_min >= 0),
    weight integer CHECK (weight > 0),
    client_max integer CHECK (client_max >= 0),
    queue_max integer CHECK (queue_max >= 0),
    queue_timeout_ms bigint CHECK (queue_timeout_ms >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Databases cloned ahead of time. The row is written before anything exists, so that whatever a
-- crash leaves is known by name.
CREATE TABLE pgusher.warm_databases (
    tenant_id text PRIMARY KEY,
    server text NOT NULL,
    schema_version text NOT NULL,
    key_version integer NOT NULL,
    state text NOT NULL DEFAULT 'creating' CHECK (state IN ('creating', 'ready', 'claimed')),
    -- the process at work on it
    held_by text,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX warm_databases_ready ON pgusher.warm_databases (server, created_at)
    WHERE state = 'ready';
CREATE INDEX warm_databases_unfinished ON pgusher.warm_databases (changed_at)
    WHERE state <> 'ready';

-- One row per registration. step is the last one done; an e-mail is held by its keyed hash as
-- long as its registration is not undone.
CREATE TABLE pgusher.registrations (
    id text PRIMARY KEY,
    idempotency_digest bytea UNIQUE,
    body_digest bytea NOT NULL,
    email_hash text NOT NULL,
    -- what the last step writes to public; emptied when there is nothing left to do
    email text,
    church_name text,
    tenant_id text NOT NULL UNIQUE,
    server text NOT NULL,
    admin_id text NOT NULL,
    was_warm boolean NOT NULL DEFAULT false,
    step text NOT NULL DEFAULT 'claimed'
        CHECK (step IN ('claimed', 'cloned', 'written', 'done', 'undone')),
    failure text,
    -- which process works on it, so that the janitor leaves it alone
    held_by text,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX registrations_email ON pgusher.registrations (email_hash)
    WHERE step <> 'undone';
CREATE INDEX registrations_unfinished ON pgusher.registrations (changed_at)
    WHERE step IN ('claimed', 'cloned', 'written');

CREATE TABLE pgusher.api_keys (
    id text PRIMARY KEY,
    tenant_id text NOT NULL,
    role text NOT NULL CHECK (role IN ('owner', 'app', 'readonly')),
    name text NOT NULL DEFAULT '',
    verifier text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX api_keys_tenant ON pgusher.api_keys (tenant_id);

-- A family is one login; its tokens replace one another. Use of a replaced one ends the family.
CREATE TABLE pgusher.refresh_families (
    id text PRIMARY KEY,
    tenant_id text NOT NULL,
    subject text NOT NULL,
    role text NOT NULL CHECK (role IN ('owner', 'app', 'readonly')),
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    revoked_reason text
);
CREATE INDEX refresh_families_subject ON pgusher.refresh_families (tenant_id, subject);
CREATE TABLE pgusher.refresh_tokens (
    digest bytea PRIMARY KEY,
    family text NOT NULL REFERENCES pgusher.refresh_families (id) ON DELETE CASCADE,
    issued_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    replaced_at timestamptz
);
CREATE INDEX refresh_tokens_family ON pgusher.refresh_tokens (family);
CREATE INDEX refresh_tokens_expiry ON pgusher.refresh_tokens (expires_at);

-- What no longer opens anything, though its signature is good. kind and value: a token's digest,
-- a key's id, an admin's id (every token issued before not_before), a tenant (the same).
CREATE TABLE pgusher.revocations (
    kind text NOT NULL CHECK (kind IN ('token', 'key', 'admin', 'tenant')),
    value text NOT NULL,
    tenant_id text,
    not_before timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (kind, value)
);
CREATE INDEX revocations_expiry ON pgusher.revocations (expires_at);

-- The pgusher processes alive, by heartbeat: they split the servers' budgets.
CREATE TABLE pgusher.processes (
    id text PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now()
);

-- Who did what to which tenant, for the operator.
CREATE TABLE pgusher.audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    tenant_id text,
    actor text NOT NULL,
    action text NOT NULL
);
CREATE INDEX audit_tenant ON pgusher.audit (tenant_id, at);

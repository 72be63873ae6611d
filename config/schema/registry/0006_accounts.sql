-- Accounts: whose login is revoked, how often a second factor was tried, who pays.

-- An admin's id is only its tenant's own: two tenants may have the same.
UPDATE pgusher.revocations SET tenant_id = '' WHERE tenant_id IS NULL;
ALTER TABLE pgusher.revocations
    DROP CONSTRAINT revocations_pkey,
    ALTER COLUMN tenant_id SET DEFAULT '',
    ALTER COLUMN tenant_id SET NOT NULL,
    ADD PRIMARY KEY (kind, value, tenant_id);

-- "until": what was issued up to then is stopped, in seconds since 1970; every process draws the
-- same line, however late it hears of it.
CREATE OR REPLACE FUNCTION pgusher.notify_revocation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('pgusher_changes', json_build_object('of', 'revocation', 'kind', NEW.kind,
        'id', NEW.value, 'tenant', NEW.tenant_id,
        'until', extract(epoch FROM NEW.not_before)::float8)::text);
    RETURN NULL;
END $$;

-- Codes tried by one admin since the first of a run, right ones aside.
CREATE TABLE pgusher.mfa_attempts (
    tenant_id text NOT NULL,
    subject text NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    began_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, subject)
);
CREATE INDEX mfa_attempts_began ON pgusher.mfa_attempts (began_at);

-- The trial's end decides too, since it may end what a live session may do.
DROP TRIGGER pgusher_changes_moved ON public."Tenant";
CREATE TRIGGER pgusher_changes_moved AFTER UPDATE ON public."Tenant"
    FOR EACH ROW WHEN (
        (OLD."databaseUrl", OLD."databaseHost", OLD."databasePort", OLD."databaseName",
         OLD."status", OLD."subscriptionStatus", OLD."subscriptionPlan", OLD."schemaVersion",
         OLD."name", OLD."trialEndsAt")
        IS DISTINCT FROM
        (NEW."databaseUrl", NEW."databaseHost", NEW."databasePort", NEW."databaseName",
         NEW."status", NEW."subscriptionStatus", NEW."subscriptionPlan", NEW."schemaVersion",
         NEW."name", NEW."trialEndsAt"))
    EXECUTE FUNCTION pgusher.notify_tenant();

-- Stripe's events, each taken once.
CREATE TABLE pgusher.stripe_events (
    id text PRIMARY KEY,
    kind text NOT NULL,
    outcome text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX stripe_events_received ON pgusher.stripe_events (received_at);

-- A subscription as the newest event about it says. One may be heard of before its customer is
-- known to be a tenant's.
CREATE TABLE pgusher.stripe_subscriptions (
    id text PRIMARY KEY,
    customer text NOT NULL,
    status text NOT NULL,
    -- the status that event replaced, where it said so
    status_before text,
    plan text,
    trial_ends_at timestamptz,
    -- Stripe's clock; whole seconds
    event_at timestamptz NOT NULL,
    is_first boolean NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX stripe_subscriptions_customer ON pgusher.stripe_subscriptions (customer);

-- What is to be told to others after the commit it belongs to. A row is taken by moving next_at
-- ahead, and gone when it is done.
CREATE TABLE pgusher.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('stripe_customer')),
    tenant_id text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT now(),
    failure text,
    -- refused for good: an operator has to look
    failed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (kind, tenant_id)
);
CREATE INDEX outbox_due ON pgusher.outbox (next_at) WHERE failed_at IS NULL;

-- A trigger, so that no way in which a tenant comes to be can forget it; with its owner's rights,
-- since an adopted registry is also written by others.
CREATE FUNCTION pgusher.queue_stripe_customer() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM pgusher.outbox WHERE tenant_id = OLD."id"::text;
    ELSE
        INSERT INTO pgusher.outbox (kind, tenant_id)
            SELECT 'stripe_customer', NEW."id" FROM public."Church"
            WHERE "id" = NEW."churchId" AND "stripeCustomerId" IS NULL
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
EXCEPTION WHEN undefined_column OR undefined_table THEN
    -- An adopted "Church" of another shape: nobody's INSERT fails for that.
    RETURN NULL;
END $$;
CREATE TRIGGER pgusher_outbox AFTER INSERT OR DELETE ON public."Tenant"
    FOR EACH ROW EXECUTE FUNCTION pgusher.queue_stripe_customer();

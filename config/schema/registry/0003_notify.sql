-- Every change another process must hear of travels on one channel as a small JSON object:
-- {"of": "tenant" | "key" | "revocation" | "process", "id": …, "tenant": …}. Never a secret.
-- PostgreSQL folds equal payloads of one transaction into one.

CREATE FUNCTION pgusher.notify_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    tenant text;
BEGIN
    IF TG_TABLE_NAME = 'Tenant' THEN
        IF TG_OP = 'DELETE' THEN tenant := OLD."id"; ELSE tenant := NEW."id"; END IF;
    ELSE
        IF TG_OP = 'DELETE' THEN tenant := OLD.tenant_id; ELSE tenant := NEW.tenant_id; END IF;
    END IF;
    PERFORM pg_notify('pgusher_changes', json_build_object('of', 'tenant', 'id', tenant)::text);
    RETURN NULL;
END $$;

CREATE FUNCTION pgusher.notify_key() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    row pgusher.api_keys;
BEGIN
    IF TG_OP = 'DELETE' THEN row := OLD; ELSE row := NEW; END IF;
    PERFORM pg_notify('pgusher_changes',
        json_build_object('of', 'key', 'id', row.id, 'tenant', row.tenant_id)::text);
    RETURN NULL;
END $$;

CREATE FUNCTION pgusher.notify_revocation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('pgusher_changes', json_build_object('of', 'revocation', 'kind', NEW.kind,
        'id', NEW.value, 'tenant', NEW.tenant_id)::text);
    RETURN NULL;
END $$;

CREATE FUNCTION pgusher.notify_process() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    process text;
BEGIN
    IF TG_OP = 'DELETE' THEN process := OLD.id; ELSE process := NEW.id; END IF;
    PERFORM pg_notify('pgusher_changes', json_build_object('of', 'process', 'id', process)::text);
    RETURN NULL;
END $$;

CREATE TRIGGER pgusher_changes_made AFTER INSERT OR DELETE ON public."Tenant"
    FOR EACH ROW EXECUTE FUNCTION pgusher.notify_tenant();
-- Not on lastAccessedAt and updatedAt, which change all day and decide nothing.
CREATE TRIGGER pgusher_changes_moved AFTER UPDATE ON public."Tenant"
    FOR EACH ROW WHEN (
        (OLD."databaseUrl", OLD."databaseHost", OLD."databasePort", OLD."databaseName",
         OLD."status", OLD."subscriptionStatus", OLD."subscriptionPlan", OLD."schemaVersion",
         OLD."name")
        IS DISTINCT FROM
        (NEW."databaseUrl", NEW."databaseHost", NEW."databasePort", NEW."databaseName",
         NEW."status", NEW."subscriptionStatus", NEW."subscriptionPlan", NEW."schemaVersion",
         NEW."name"))
    EXECUTE FUNCTION pgusher.notify_tenant();
CREATE TRIGGER pgusher_changes AFTER INSERT OR UPDATE OR DELETE ON pgusher.tenants
    FOR EACH ROW EXECUTE FUNCTION pgusher.notify_tenant();
CREATE TRIGGER pgusher_changes AFTER INSERT OR UPDATE OR DELETE ON pgusher.api_keys
    FOR EACH ROW EXECUTE FUNCTION pgusher.notify_key();
CREATE TRIGGER pgusher_changes AFTER INSERT OR UPDATE ON pgusher.revocations
    FOR EACH ROW EXECUTE FUNCTION pgusher.notify_revocation();
-- Coming and going, not the heartbeat.
CREATE TRIGGER pgusher_changes AFTER INSERT OR DELETE ON pgusher.processes
    FOR EACH ROW EXECUTE FUNCTION pgusher.notify_process();

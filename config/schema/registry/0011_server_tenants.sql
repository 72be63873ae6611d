-- How many tenants of pgusher's own each server has, kept by whatever commit makes, moves or drops
-- one: a process that looks now and then must not count them all.

CREATE TABLE pgusher.server_tenants (
    server text PRIMARY KEY,
    tenants bigint NOT NULL
);

-- One row of pgusher.tenants came, went or changed places. Commits on one server wait here for one
-- another no more than they do for NOTIFY.
CREATE FUNCTION pgusher.count_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.managed AND OLD.server IS NOT NULL THEN
        UPDATE pgusher.server_tenants SET tenants = tenants - 1 WHERE server = OLD.server;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.managed AND NEW.server IS NOT NULL THEN
        INSERT INTO pgusher.server_tenants AS s (server, tenants) VALUES (NEW.server, 1)
        ON CONFLICT (server) DO UPDATE SET tenants = s.tenants + 1;
    END IF;
    RETURN NULL;
END $$;

-- The triggers first: they wait for whoever writes, and until this commit nobody else does.
CREATE TRIGGER pgusher_counted AFTER INSERT OR DELETE ON pgusher.tenants
    FOR EACH ROW EXECUTE FUNCTION pgusher.count_tenant();
-- Not on limits, suspensions and versions.
CREATE TRIGGER pgusher_counted_moved AFTER UPDATE ON pgusher.tenants
    FOR EACH ROW WHEN ((OLD.managed, OLD.server) IS DISTINCT FROM (NEW.managed, NEW.server))
    EXECUTE FUNCTION pgusher.count_tenant();

INSERT INTO pgusher.server_tenants (server, tenants)
    SELECT server, count(*) FROM pgusher.tenants
    WHERE managed AND server IS NOT NULL GROUP BY server;

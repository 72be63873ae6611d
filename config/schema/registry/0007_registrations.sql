-- Registrations that are answered before they are done, and placement by region.

ALTER TABLE pgusher.registrations
    -- the only region its database may be in; null: any
    ADD COLUMN region text,
    -- whether its caller was answered before it was done
    ADD COLUMN deferred boolean NOT NULL DEFAULT false,
    -- what is still to be written into the tenant's database (names, the password's hash), sealed
    -- under the master key, so that another process can finish it; emptied with the last step
    ADD COLUMN sealed bytea,
    -- until when the first tokens can be fetched, which is possible once; null: there are none
    ADD COLUMN collect_until timestamptz;

-- How many tenants a server has, for servers with a limit.
CREATE INDEX tenants_server ON pgusher.tenants (server);

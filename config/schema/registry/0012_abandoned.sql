-- Whose admin may be written in a database that a registration left behind: it may be dropped all the
-- same. Any other that bears a tenant's mark is that tenant's, whatever this table says of it.
ALTER TABLE pgusher.warm_databases ADD COLUMN admin_id text;

-- What the janitor looks for every minute, in every process.
CREATE INDEX api_keys_ended ON pgusher.api_keys (least(revoked_at, expires_at));
CREATE INDEX registrations_ended ON pgusher.registrations (changed_at)
    WHERE step IN ('done', 'undone');

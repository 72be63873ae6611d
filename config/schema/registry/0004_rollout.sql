-- Where pgusher's own corner of a tenant's database stands; null where there is none: a database
-- made by another system that nobody has taken over yet.
ALTER TABLE pgusher.tenants ADD COLUMN own_version integer;
UPDATE pgusher.tenants SET own_version = 1 WHERE managed;

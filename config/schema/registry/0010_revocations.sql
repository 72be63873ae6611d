-- A revocation is kept as long as what it stops may live: that of an admin or of a tenant for good,
-- since nobody knows how long the tokens live that others issue; that of one token until its end.

ALTER TABLE pgusher.revocations
    DROP CONSTRAINT revocations_kind_check,
    -- tokens: every token of a tenant issued before not_before, but not its API keys
    ADD CONSTRAINT revocations_kind_check
        CHECK (kind IN ('token', 'key', 'admin', 'tenant', 'tokens'));

-- "keep": nothing it stops is good after that, in seconds since 1970.
CREATE OR REPLACE FUNCTION pgusher.notify_revocation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('pgusher_changes', json_build_object('of', 'revocation', 'kind', NEW.kind,
        'id', NEW.value, 'tenant', NEW.tenant_id,
        'until', extract(epoch FROM NEW.not_before)::float8,
        'keep', extract(epoch FROM least(NEW.expires_at, '9999-12-31'))::float8)::text);
    RETURN NULL;
END $$;

UPDATE pgusher.revocations SET expires_at = '9999-12-31' WHERE kind IN ('admin', 'tenant');

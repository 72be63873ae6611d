-- A phone number that changes hands: every process forgets whose it was. Read as JSON, because an
-- adopted table may lack the column.

CREATE FUNCTION pgusher.notify_phone() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    key text := CASE TG_TABLE_NAME WHEN 'Tenant' THEN 'telnyxPhoneNumber' ELSE 'phoneNumber' END;
    before text := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) ->> key END;
    after text := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) ->> key END;
    number text;
BEGIN
    FOREACH number IN ARRAY ARRAY[before, after] LOOP
        IF number IS NOT NULL THEN
            PERFORM pg_notify('pgusher_changes',
                json_build_object('of', 'phone', 'id', left(number, 64))::text);
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

CREATE TRIGGER pgusher_phone_changes AFTER INSERT OR UPDATE OR DELETE
    ON public."PhoneNumberRegistry" FOR EACH ROW EXECUTE FUNCTION pgusher.notify_phone();
CREATE TRIGGER pgusher_phone_made AFTER INSERT OR DELETE ON public."Tenant"
    FOR EACH ROW EXECUTE FUNCTION pgusher.notify_phone();
CREATE TRIGGER pgusher_phone_moved AFTER UPDATE ON public."Tenant"
    FOR EACH ROW WHEN (OLD."telnyxPhoneNumber" IS DISTINCT FROM NEW."telnyxPhoneNumber")
    EXECUTE FUNCTION pgusher.notify_phone();

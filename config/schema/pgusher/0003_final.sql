-- What passes is named, and everything else is final: a product's triggers may raise any class
-- there is, and one of their own. A message that can never be stored is kept in the dead letters
-- instead of being refused for ever.

CREATE OR REPLACE FUNCTION pgusher.is_final(state text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    -- connections, transactions that only read or clash, resources, locks, shutdowns, the disk,
    -- PostgreSQL itself
    SELECT left(state, 2) NOT IN ('08', '25', '40', '53', '55', '57', '58', 'XX')
$$;

-- As before, and what the product checks at the end of a transaction is checked here, where there
-- is still something to be done about it.
CREATE OR REPLACE FUNCTION pgusher.tidy_inbox() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    parked record;
BEGIN
    DELETE FROM pgusher.webhook_inbox i USING (
        SELECT o.provider, o.event_id FROM pgusher.webhook_inbox o
        WHERE o.received_at < now() - interval '30 days'
        ORDER BY o.received_at LIMIT 10 FOR UPDATE SKIP LOCKED) old
        WHERE i.provider = old.provider AND i.event_id = old.event_id;
    DELETE FROM pgusher.parked_receipts p USING (
        SELECT o.provider, o.message_id FROM pgusher.parked_receipts o
        WHERE o.parked_at < now() - interval '1 day'
        ORDER BY o.parked_at LIMIT 10 FOR UPDATE SKIP LOCKED) old
        WHERE p.provider = old.provider AND p.message_id = old.message_id;
    FOR parked IN SELECT o.* FROM pgusher.parked_receipts o
        WHERE o.parked_at > now() - interval '10 minutes'
        ORDER BY o.parked_at DESC LIMIT 20 FOR UPDATE SKIP LOCKED
    LOOP
        IF pgusher.apply_receipt(parked.message_id, parked.body) <> 'unmatched' THEN
            DELETE FROM pgusher.parked_receipts p
                WHERE p.provider = parked.provider AND p.message_id = parked.message_id;
        END IF;
    END LOOP;
    SET CONSTRAINTS ALL IMMEDIATE;
EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
    -- A favour by the way: what brought the caller here is worth more.
    IF NOT pgusher.is_final(SQLSTATE) THEN
        RAISE;
    END IF;
END $$;

-- Takes a message (stored, duplicate, or dead) or a receipt (applied, stale, parked, duplicate, or
-- dead); state says why it is dead. unfit: it is known beforehand that it cannot be stored as it was.
CREATE FUNCTION pgusher.take(its_provider text, its_event text, its_message text, its_kind text,
    body jsonb, unfit text, OUT outcome text, OUT state text)
LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
BEGIN
    INSERT INTO pgusher.webhook_inbox (provider, event_id, message_id, kind)
        VALUES (its_provider, its_event, its_message, its_kind) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        outcome := 'duplicate';
        RETURN;
    END IF;
    BEGIN
        IF unfit IS NOT NULL THEN
            RAISE EXCEPTION '%', unfit USING ERRCODE = 'untranslatable_character';
        END IF;
        IF its_kind = 'message' THEN
            PERFORM pgusher.store_message(its_message, body);
            outcome := 'stored';
        ELSE
            outcome := pgusher.apply_receipt(its_message, body);
        END IF;
        SET CONSTRAINTS ALL IMMEDIATE;
    -- OTHERS alone leaves out what ASSERT raises.
    EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
        IF NOT pgusher.is_final(SQLSTATE) THEN
            RAISE;
        END IF;
        state := SQLSTATE;
        PERFORM pgusher.bury(its_provider, its_event, its_message, its_kind, body, SQLERRM);
        outcome := 'dead';
    END;
    IF outcome = 'unmatched' THEN
        INSERT INTO pgusher.parked_receipts AS p (provider, message_id, body)
            VALUES (its_provider, its_message, body)
            ON CONFLICT (provider, message_id) DO UPDATE SET body = excluded.body
            WHERE pgusher.delivery_rank(excluded.body ->> 'status')
                > pgusher.delivery_rank(p.body ->> 'status');
        outcome := 'parked';
    END IF;
    PERFORM pgusher.tidy_inbox();
END $$;

CREATE OR REPLACE FUNCTION pgusher.take_message(its_provider text, its_event text,
    its_message text, body jsonb, unfit text, OUT outcome text, OUT state text)
LANGUAGE sql AS $$
    SELECT * FROM pgusher.take(its_provider, its_event, its_message, 'message', body, unfit)
$$;

CREATE OR REPLACE FUNCTION pgusher.take_receipt(its_provider text, its_event text,
    its_message text, body jsonb, unfit text, OUT outcome text, OUT state text)
LANGUAGE sql AS $$
    SELECT * FROM pgusher.take(its_provider, its_event, its_message, 'receipt', body, unfit)
$$;

-- Tries a dead letter again: resolved, dead, or gone (no such letter that is still pending).
CREATE OR REPLACE FUNCTION pgusher.replay(its_letter text, OUT outcome text, OUT state text)
LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
DECLARE
    letter jsonb;
    message text;
BEGIN
    SELECT d."payload" INTO letter FROM public."DeadLetterQueue" d
        WHERE d."id" = its_letter AND d."status" = 'pending' FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'gone';
        RETURN;
    END IF;
    message := letter ->> 'messageId';
    BEGIN
        IF letter ->> 'kind' = 'message' THEN
            PERFORM pgusher.store_message(message, letter -> 'body');
        ELSIF letter ->> 'kind' = 'receipt' THEN
            PERFORM pgusher.apply_receipt(message, letter -> 'body');
        ELSE
            RAISE EXCEPTION 'no message and no receipt of pgusher''s';
        END IF;
        UPDATE public."DeadLetterQueue" SET "status" = 'resolved', "resolvedAt" = now()
            WHERE "id" = its_letter;
        SET CONSTRAINTS ALL IMMEDIATE;
        outcome := 'resolved';
    EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
        IF NOT pgusher.is_final(SQLSTATE) THEN
            RAISE;
        END IF;
        state := SQLSTATE;
        UPDATE public."DeadLetterQueue" SET "attempts" = "attempts" + 1, "error" = SQLERRM
            WHERE "id" = its_letter;
        outcome := 'dead';
    END;
END $$;

REVOKE ALL ON FUNCTION pgusher.take(text, text, text, text, jsonb, text) FROM PUBLIC;

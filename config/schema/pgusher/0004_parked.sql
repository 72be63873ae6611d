-- Parked receipts cost nobody a message, and none is passed over: not for its age, not for those
-- that wait in vain, not for one the product refuses.
--
-- What takes events and what tries dead letters again have new names: a database that is older is
-- told apart by them, and gets this with its first message or replay.

-- Which event it was, for the dead letters.
ALTER TABLE pgusher.parked_receipts ADD COLUMN event_id text;

-- Keeps a receipt until its recipient is known: of two of one message, the one that is farther.
CREATE FUNCTION pgusher.park(its_provider text, its_event text, its_message text, its_body jsonb)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO pgusher.parked_receipts AS p (provider, message_id, event_id, body)
        VALUES (its_provider, its_message, its_event, its_body)
        ON CONFLICT (provider, message_id) DO UPDATE SET parked_at = excluded.parked_at,
            event_id = CASE WHEN pgusher.delivery_rank(excluded.body ->> 'status')
                > pgusher.delivery_rank(p.body ->> 'status') THEN excluded.event_id
                ELSE p.event_id END,
            body = CASE WHEN pgusher.delivery_rank(excluded.body ->> 'status')
                > pgusher.delivery_rank(p.body ->> 'status') THEN excluded.body ELSE p.body END
$$;

-- Applies parked receipts whose recipient is known by now. So many are looked at: the oldest, and
-- as many from a moment by chance, so that each has its turn. What is final is buried as it would
-- have been when it came; what passes stays parked. It never raises, and ends soon after `spend`.
CREATE FUNCTION pgusher.settle_receipts(look integer, spend interval) RETURNS void
LANGUAGE plpgsql SET lock_timeout = '200ms' AS $$
DECLARE
    begun timestamptz := clock_timestamp();
    since timestamptz;
    parked record;
    receipt record;
BEGIN
    SELECT min(o.parked_at) + random() * (max(o.parked_at) - min(o.parked_at)) INTO since
        FROM pgusher.parked_receipts o;
    FOR parked IN SELECT o.provider, o.message_id FROM (
            (SELECT n.provider, n.message_id FROM pgusher.parked_receipts n
                WHERE n.parked_at < since ORDER BY n.parked_at LIMIT look)
            UNION ALL
            (SELECT n.provider, n.message_id FROM pgusher.parked_receipts n
                WHERE n.parked_at >= since ORDER BY n.parked_at LIMIT look)) o
        WHERE EXISTS (SELECT FROM public."MessageRecipient" r
                WHERE r."providerMessageId" = o.message_id)
            OR EXISTS (SELECT FROM public."ConversationMessage" c
                WHERE c."providerMessageId" = o.message_id)
        -- Those whose recipients are held keep the same others waiting but once.
        ORDER BY random()
    LOOP
        EXIT WHEN clock_timestamp() > begun + spend;
        BEGIN
            SELECT p.body INTO receipt FROM pgusher.parked_receipts p
                WHERE p.provider = parked.provider AND p.message_id = parked.message_id
                FOR UPDATE SKIP LOCKED;
            CONTINUE WHEN NOT FOUND;
            CONTINUE WHEN pgusher.apply_receipt(parked.message_id, receipt.body) = 'unmatched';
            DELETE FROM pgusher.parked_receipts p
                WHERE p.provider = parked.provider AND p.message_id = parked.message_id;
            SET CONSTRAINTS ALL IMMEDIATE;
        EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
            CONTINUE WHEN NOT pgusher.is_final(SQLSTATE);
            PERFORM pgusher.bury_parked(parked.provider, parked.message_id, SQLERRM);
        END;
    END LOOP;
EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
    -- A favour by the way: what brought the caller here is worth more.
    NULL;
END $$;

-- A parked receipt becomes a dead letter; where there can be none, it stays parked.
CREATE FUNCTION pgusher.bury_parked(its_provider text, its_message text, reason text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    receipt record;
BEGIN
    DELETE FROM pgusher.parked_receipts p
        WHERE p.provider = its_provider AND p.message_id = its_message
        RETURNING p.event_id, p.body INTO receipt;
    IF FOUND THEN
        PERFORM pgusher.bury(its_provider, receipt.event_id, its_message, 'receipt', receipt.body,
            reason);
        SET CONSTRAINTS ALL IMMEDIATE;
    END IF;
EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
    NULL;
END $$;

-- Receipts whose recipient is known by now; and what is older than any provider's patience goes.
-- A few at a time: everybody who brings something does a little of it.
CREATE OR REPLACE FUNCTION pgusher.tidy_inbox() RETURNS void
LANGUAGE plpgsql SET lock_timeout = '200ms' AS $$
BEGIN
    PERFORM pgusher.settle_receipts(200, interval '300 milliseconds');
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
    EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
        NULL;
    END;
END $$;

-- Takes a message (stored, duplicate, or dead) or a receipt (applied, stale, parked, duplicate, or
-- dead); state says why it is dead. unfit: it is known beforehand that it cannot be stored as it was.
CREATE FUNCTION pgusher.take_event(its_provider text, its_event text, its_message text,
    its_kind text, body jsonb, unfit text, OUT outcome text, OUT state text)
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
        PERFORM pgusher.park(its_provider, its_event, its_message, body);
        outcome := 'parked';
    END IF;
    -- What is ours is judged before what was parked: the one is not blamed on the other.
    SET CONSTRAINTS ALL IMMEDIATE;
    PERFORM pgusher.tidy_inbox();
END $$;

-- For processes that are older than this.
CREATE OR REPLACE FUNCTION pgusher.take_message(its_provider text, its_event text,
    its_message text, body jsonb, unfit text, OUT outcome text, OUT state text)
LANGUAGE sql AS $$
    SELECT * FROM pgusher.take_event(its_provider, its_event, its_message, 'message', body, unfit)
$$;

CREATE OR REPLACE FUNCTION pgusher.take_receipt(its_provider text, its_event text,
    its_message text, body jsonb, unfit text, OUT outcome text, OUT state text)
LANGUAGE sql AS $$
    SELECT * FROM pgusher.take_event(its_provider, its_event, its_message, 'receipt', body, unfit)
$$;

DROP FUNCTION pgusher.take(text, text, text, text, jsonb, text);

-- Tries a dead letter again: resolved, dead, or gone (no such letter that is still pending). A
-- receipt whose recipient is not known is parked, as when it comes.
CREATE FUNCTION pgusher.replay_letter(its_letter text, OUT outcome text, OUT state text)
LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
DECLARE
    letter record;
    message text;
BEGIN
    SELECT d."payload", d."source", d."externalId" INTO letter FROM public."DeadLetterQueue" d
        WHERE d."id" = its_letter AND d."status" = 'pending' FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'gone';
        RETURN;
    END IF;
    message := letter."payload" ->> 'messageId';
    BEGIN
        IF letter."payload" ->> 'kind' = 'message' THEN
            PERFORM pgusher.store_message(message, letter."payload" -> 'body');
        ELSIF letter."payload" ->> 'kind' = 'receipt' THEN
            IF pgusher.apply_receipt(message, letter."payload" -> 'body') = 'unmatched' THEN
                PERFORM pgusher.park(letter."source", letter."externalId", message,
                    letter."payload" -> 'body');
            END IF;
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

-- For processes of the version before.
CREATE OR REPLACE FUNCTION pgusher.replay(its_letter text, OUT outcome text, OUT state text)
LANGUAGE sql AS $$ SELECT r.outcome, r.state FROM pgusher.replay_letter(its_letter) r $$;

REVOKE ALL ON FUNCTION pgusher.park(text, text, text, jsonb),
    pgusher.settle_receipts(integer, interval), pgusher.bury_parked(text, text, text),
    pgusher.replay_letter(text), pgusher.take_event(text, text, text, text, jsonb, text)
    FROM PUBLIC;

-- Inbound messages and delivery receipts, each taken by one call of one transaction.
--
-- The functions run with the caller's rights, never their owner's: the product's own triggers fire
-- inside them. Tables of the product are named in full, and looked up when they are first used, so
-- that this can be laid into any database; one whose tables differ is told apart by SQLSTATE 42.

-- A message is taken once, whatever the number of its events.
DROP INDEX pgusher.webhook_inbox_message;
CREATE UNIQUE INDEX webhook_inbox_message_once ON pgusher.webhook_inbox (provider, message_id)
    WHERE kind = 'message';

-- Receipts that came before the product wrote which recipient they are about.
CREATE TABLE pgusher.parked_receipts (
    provider text NOT NULL,
    message_id text NOT NULL,
    body jsonb NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, message_id)
);
CREATE INDEX parked_receipts_parked ON pgusher.parked_receipts (parked_at);

-- What cannot be stored for its content, or because the product's tables are others: it is kept
-- in the product's dead letters. Everything else (locks, shutdowns, full disks) passes, and the
-- provider tries again.
CREATE FUNCTION pgusher.is_final(state text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT left(state, 2) IN ('22', '23', '42', '44', '54', 'P0')
$$;

-- How far a delivery is. Unknown words are the product's own and are left alone.
CREATE FUNCTION pgusher.delivery_rank(status text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE lower(status)
        WHEN 'pending' THEN 0 WHEN 'queued' THEN 1 WHEN 'sending' THEN 2 WHEN 'sent' THEN 3
        WHEN 'unconfirmed' THEN 4 WHEN 'failed' THEN 5 WHEN 'delivered' THEN 6 END
$$;

-- Puts a message where the product reads it.
CREATE FUNCTION pgusher.store_message(its_message text, body jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    sender text := body ->> 'from';
    said_at timestamptz := coalesce((body ->> 'occurredAt')::timestamptz, now());
    media text[] := ARRAY(SELECT jsonb_array_elements_text(coalesce(body -> 'media', '[]')));
    member text;
    conversation text;
BEGIN
    SELECT m."id" INTO member FROM public."Member" m WHERE m."phone" = sender
        ORDER BY m."id" LIMIT 1;
    IF member IS NULL THEN
        INSERT INTO public."Member" ("phone", "source") VALUES (sender, 'sms')
            ON CONFLICT ("phone") DO NOTHING RETURNING "id" INTO member;
    END IF;
    IF member IS NULL THEN
        -- Another message of theirs made them meanwhile.
        SELECT m."id" INTO member FROM public."Member" m WHERE m."phone" = sender;
    END IF;
    INSERT INTO public."Conversation" AS c ("memberId", "status", "unreadCount", "lastMessageAt")
        VALUES (member, 'open', 1, said_at)
        ON CONFLICT ("memberId") DO UPDATE SET "status" = 'open',
            "unreadCount" = c."unreadCount" + 1, "updatedAt" = now(),
            "lastMessageAt" = greatest(c."lastMessageAt", excluded."lastMessageAt")
        RETURNING c."id" INTO conversation;
    INSERT INTO public."ConversationMessage" ("conversationId", "memberId", "direction", "content",
            "mediaUrls", "providerMessageId", "status", "occurredAt")
        VALUES (conversation, member, 'inbound', coalesce(body ->> 'text', ''), media,
            its_message, 'received', said_at);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a trigger of the product took the message away';
    END IF;
END $$;

-- Moves a delivery forward, whatever the order receipts come in: applied, stale, or unmatched.
CREATE FUNCTION pgusher.apply_receipt(its_message text, body jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    now_is text := body ->> 'status';
    rank integer := pgusher.delivery_rank(body ->> 'status');
    said_at timestamptz := coalesce((body ->> 'occurredAt')::timestamptz, now());
BEGIN
    UPDATE public."MessageRecipient" r SET "status" = now_is, "updatedAt" = now(),
            "failureReason" = CASE now_is WHEN 'failed' THEN body ->> 'reason' END,
            "sentAt" = CASE WHEN rank >= 3 AND now_is <> 'failed'
                THEN least(r."sentAt", said_at) ELSE r."sentAt" END,
            "deliveredAt" = CASE now_is WHEN 'delivered' THEN said_at ELSE r."deliveredAt" END
        WHERE r."providerMessageId" = its_message AND pgusher.delivery_rank(r."status") < rank;
    IF FOUND THEN
        RETURN 'applied';
    END IF;
    PERFORM 1 FROM public."MessageRecipient" r WHERE r."providerMessageId" = its_message;
    IF FOUND THEN
        RETURN 'stale';
    END IF;
    -- An admin's reply in a conversation has no recipient row.
    UPDATE public."ConversationMessage" c SET "status" = now_is
        WHERE c."providerMessageId" = its_message AND c."direction" = 'outbound'
            AND pgusher.delivery_rank(c."status") < rank;
    IF FOUND THEN
        RETURN 'applied';
    END IF;
    PERFORM 1 FROM public."ConversationMessage" c WHERE c."providerMessageId" = its_message;
    RETURN CASE WHEN FOUND THEN 'stale' ELSE 'unmatched' END;
END $$;

-- Keeps what could not be stored, with all it takes to try again.
CREATE FUNCTION pgusher.bury(its_provider text, its_event text, its_message text, its_kind text,
    body jsonb, reason text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public."DeadLetterQueue" ("source", "externalId", "payload", "error", "attempts")
        VALUES (its_provider, its_event,
            jsonb_build_object('kind', its_kind, 'messageId', its_message, 'body', body),
            reason, 1);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a trigger of the product took the dead letter away';
    END IF;
END $$;

-- Receipts whose recipient is known by now; and what is older than any provider's patience goes.
-- A few at a time: everybody who brings something does a little of it.
CREATE FUNCTION pgusher.tidy_inbox() RETURNS void LANGUAGE plpgsql AS $$
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
EXCEPTION WHEN OTHERS THEN
    -- A favour by the way: what brought the caller here is worth more.
    IF NOT pgusher.is_final(SQLSTATE) THEN
        RAISE;
    END IF;
END $$;

-- A message: stored, duplicate, or dead (then state says why). unfit: it is known beforehand that
-- it cannot be stored as it was.
CREATE FUNCTION pgusher.take_message(its_provider text, its_event text, its_message text,
    body jsonb, unfit text, OUT outcome text, OUT state text)
LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
BEGIN
    INSERT INTO pgusher.webhook_inbox (provider, event_id, message_id, kind)
        VALUES (its_provider, its_event, its_message, 'message') ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        outcome := 'duplicate';
        RETURN;
    END IF;
    BEGIN
        IF unfit IS NOT NULL THEN
            RAISE EXCEPTION '%', unfit USING ERRCODE = 'untranslatable_character';
        END IF;
        PERFORM pgusher.store_message(its_message, body);
        outcome := 'stored';
    EXCEPTION WHEN OTHERS THEN
        IF NOT pgusher.is_final(SQLSTATE) THEN
            RAISE;
        END IF;
        state := SQLSTATE;
        PERFORM pgusher.bury(its_provider, its_event, its_message, 'message', body, SQLERRM);
        outcome := 'dead';
    END;
    PERFORM pgusher.tidy_inbox();
END $$;

-- A delivery receipt: applied, stale, parked, duplicate or dead.
CREATE FUNCTION pgusher.take_receipt(its_provider text, its_event text, its_message text,
    body jsonb, unfit text, OUT outcome text, OUT state text)
LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
BEGIN
    INSERT INTO pgusher.webhook_inbox (provider, event_id, message_id, kind)
        VALUES (its_provider, its_event, its_message, 'receipt') ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        outcome := 'duplicate';
        RETURN;
    END IF;
    BEGIN
        IF unfit IS NOT NULL THEN
            RAISE EXCEPTION '%', unfit USING ERRCODE = 'untranslatable_character';
        END IF;
        outcome := pgusher.apply_receipt(its_message, body);
    EXCEPTION WHEN OTHERS THEN
        IF NOT pgusher.is_final(SQLSTATE) THEN
            RAISE;
        END IF;
        state := SQLSTATE;
        PERFORM pgusher.bury(its_provider, its_event, its_message, 'receipt', body, SQLERRM);
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

-- Tries a dead letter again: resolved, dead, or gone (no such letter that is still pending).
CREATE FUNCTION pgusher.replay(its_letter text, OUT outcome text, OUT state text)
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
        outcome := 'resolved';
    EXCEPTION WHEN OTHERS THEN
        IF NOT pgusher.is_final(SQLSTATE) THEN
            RAISE;
        END IF;
        state := SQLSTATE;
        UPDATE public."DeadLetterQueue" SET "attempts" = "attempts" + 1, "error" = SQLERRM
            WHERE "id" = its_letter;
        outcome := 'dead';
    END;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgusher FROM PUBLIC;

-- What pgusher keeps inside a tenant's database, whatever the product's own schema is: whose
-- database it is, and which webhooks it has seen. Closed to the tenant's roles.

CREATE TABLE pgusher.tenant_mark (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    tenant_id text NOT NULL,
    marked_at timestamptz NOT NULL DEFAULT now()
);

-- One row per webhook event that was committed here: a second delivery finds its own.
CREATE TABLE pgusher.webhook_inbox (
    provider text NOT NULL,
    event_id text NOT NULL,
    message_id text,
    kind text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, event_id)
);
CREATE INDEX webhook_inbox_message ON pgusher.webhook_inbox (provider, message_id);
CREATE INDEX webhook_inbox_received ON pgusher.webhook_inbox (received_at);

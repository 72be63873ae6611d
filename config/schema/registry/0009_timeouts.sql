-- How long a tenant's clients may take; null means the plan's.
ALTER TABLE pgusher.tenants
    ADD COLUMN query_timeout_ms bigint CHECK (query_timeout_ms >= 0),
    ADD COLUMN transaction_timeout_ms bigint CHECK (transaction_timeout_ms >= 0),
    ADD COLUMN idle_in_transaction_timeout_ms bigint CHECK (idle_in_transaction_timeout_ms >= 0),
    ADD COLUMN client_idle_timeout_ms bigint CHECK (client_idle_timeout_ms >= 0);

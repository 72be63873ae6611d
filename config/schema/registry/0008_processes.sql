-- What each process holds of the servers' budgets, so that no two hold the same part while they
-- come and go: its number among `parts` (0: it holds nothing yet), and what it still holds beyond
-- its part, by server. Commands that only work beside a process serve nobody and get no part.

ALTER TABLE pgusher.processes
    ADD COLUMN serves boolean NOT NULL DEFAULT true,
    ADD COLUMN parts integer NOT NULL DEFAULT 0 CHECK (parts >= 0),
    ADD COLUMN rank integer NOT NULL DEFAULT 0 CHECK (rank >= 0),
    ADD COLUMN beyond jsonb NOT NULL DEFAULT '{}';

-- Told when that changes, beside coming and going.
CREATE TRIGGER pgusher_changes_split AFTER UPDATE ON pgusher.processes
    FOR EACH ROW WHEN ((OLD.parts, OLD.rank, OLD.beyond) IS DISTINCT FROM
        (NEW.parts, NEW.rank, NEW.beyond))
    EXECUTE FUNCTION pgusher.notify_process();

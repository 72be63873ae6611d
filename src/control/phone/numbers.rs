//! The registry's phone numbers, and what is remembered of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use tokio_postgres::Transaction;

use super::E164;
use crate::control::{Refused, failed};
use crate::fault::Fault;
use crate::ident::TenantId;
use crate::tenant::Registry;

/// Numbers remembered at most.
const ENTRIES_MAX: u64 = 100_000;

/// How long an owner is believed without asking again, should every NOTIFY be lost.
const FRESH: Duration = Duration::from_secs(60);

/// Numbers one tenant may have.
const NUMBERS_MAX: i64 = 100;
const TOO_MANY: Refused = Refused::Conflict {
    kind: "too-many-numbers",
    title: "The tenant has 100 phone numbers already: release one first",
};

/// A number a tenant holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The number.
    pub number: String,
    /// Whether it is the one in `"Tenant"."telnyxPhoneNumber"`: the one to send from.
    pub primary: bool,
}

/// Who has which number. Cheap to clone; clones share what they remember.
#[derive(Clone)]
pub struct Numbers(Arc<Inner>);

struct Inner {
    registry: Registry,
    owners: Owners,
}

/// Owners as the registry named them a moment ago.
struct Owners {
    known: Cache<E164, TenantId>,
    /// Raised by every `forget`: an answer asked for before it is not remembered.
    epoch: AtomicU64,
}

impl Owners {
    fn new() -> Self {
        let known = Cache::builder().max_capacity(ENTRIES_MAX).time_to_live(FRESH).build();
        Self { known, epoch: AtomicU64::new(0) }
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Remembers what was asked for in `epoch`. What is forgotten meanwhile is looked for after it
    /// is there: whoever looked before could remember it behind a `forget`'s back.
    fn insert(&self, number: &E164, owner: TenantId, epoch: u64) {
        self.known.insert(number.clone(), owner);
        if self.epoch() != epoch {
            self.known.invalidate(number);
        }
    }

    fn forget(&self, number: &E164) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.known.invalidate(number);
    }

    fn forget_all(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.known.invalidate_all();
    }
}

impl Numbers {
    /// The numbers of `registry`.
    pub fn new(registry: Registry) -> Self {
        Self(Arc::new(Inner { registry, owners: Owners::new() }))
    }

    /// Drops one number: it changed hands.
    pub fn forget(&self, number: &E164) {
        self.0.owners.forget(number);
    }

    /// Changes may have been missed.
    pub fn forget_all(&self) {
        self.0.owners.forget_all();
    }

    /// The owners of those of `numbers` that have one. "Nobody's" is never remembered: a message
    /// to a number that was assigned a moment ago must not be thrown away.
    ///
    /// # Errors
    /// 57P03 when the registry cannot be asked; XX000 when it names two owners for one number.
    pub async fn owners(&self, numbers: &[E164]) -> Result<HashMap<E164, TenantId>, Fault> {
        let mut found = HashMap::with_capacity(numbers.len());
        let mut unknown = Vec::new();
        for number in numbers {
            match self.0.owners.known.get(number) {
                Some(owner) => drop(found.insert(number.clone(), owner)),
                None => unknown.push(number.as_str()),
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        let epoch = self.0.owners.epoch();
        // An adopted registry may have written a number in one of the two places only.
        let sql = r#"SELECT DISTINCT n, coalesce(p."tenantId", t."id")::text
                     FROM unnest($1::text[]) n
                     LEFT JOIN public."PhoneNumberRegistry" p ON p."phoneNumber" = n
                     LEFT JOIN public."Tenant" t
                         ON p."phoneNumber" IS NULL AND t."telnyxPhoneNumber" = n
                     WHERE coalesce(p."tenantId", t."id") IS NOT NULL"#;
        let client = self.0.registry.client().await?;
        let statement = client.prepare_cached(sql).await.map_err(failed::registry)?;
        for row in client.query(&statement, &[&unknown]).await.map_err(failed::registry)? {
            let number: String = row.try_get(0).map_err(failed::registry)?;
            let owner: String = row.try_get(1).map_err(failed::registry)?;
            // A tenant pgusher cannot serve gets nothing delivered, and nobody else gets it.
            let owner = TenantId::parse(&owner)
                .map_err(|_| failed::internal("a phone number's tenant has an unusable id"))?;
            let number = E164::parse(&number).map_err(failed::internal)?;
            if found.insert(number.clone(), owner.clone()).is_some() {
                return Err(failed::internal("a phone number has two tenants"));
            }
            self.0.owners.insert(&number, owner, epoch);
        }
        Ok(found)
    }

    /// Gives a number to a tenant; giving it twice gives it once. `sid` is the provider's id.
    ///
    /// # Errors
    /// [`Refused::NotFound`] without such a tenant; [`Refused::NumberTaken`];
    /// [`Refused::Conflict`] when it has as many as it may have.
    pub async fn assign(
        &self,
        tenant: &TenantId,
        number: &E164,
        sid: Option<&str>,
    ) -> Result<(), Refused> {
        let (id, text) = (tenant.as_str(), number.as_str());
        let mut client = self.0.registry.client().await?;
        let tx = client.transaction().await.map_err(failed::registry)?;
        lock(&tx, id, text).await?;
        let sql = r#"SELECT coalesce(bool_or(o.id <> $2), false), coalesce(bool_or(o.listed), false),
                         (SELECT count(*) FROM public."PhoneNumberRegistry" WHERE "tenantId" = $2)
                     FROM (SELECT "tenantId"::text AS id, true AS listed
                           FROM public."PhoneNumberRegistry" WHERE "phoneNumber" = $1
                           UNION ALL SELECT "id"::text, false FROM public."Tenant"
                           WHERE "telnyxPhoneNumber" = $1) o"#;
        let row = tx.query_one(sql, &[&text, &id]).await.map_err(failed::registry)?;
        if row.try_get(0).map_err(failed::registry)? {
            return Err(Refused::NumberTaken);
        }
        let is_listed: bool = row.try_get(1).map_err(failed::registry)?;
        if !is_listed {
            if row.try_get::<_, i64>(2).map_err(failed::registry)? >= NUMBERS_MAX {
                return Err(TOO_MANY);
            }
            let sql = r#"INSERT INTO public."PhoneNumberRegistry" ("phoneNumber", "tenantId")
                         VALUES ($1, $2)"#;
            tx.execute(sql, &[&text, &id]).await.map_err(taken)?;
        }
        let sql = r#"UPDATE public."Tenant" SET "telnyxPhoneNumber" = $1,
                         "telnyxNumberSid" = coalesce($3::text, "telnyxNumberSid"),
                         "updatedAt" = current_timestamp
                     WHERE "id" = $2 AND coalesce("telnyxPhoneNumber", $1) = $1
                         AND ("telnyxPhoneNumber" IS NULL OR "telnyxNumberSid" IS DISTINCT FROM
                             coalesce($3::text, "telnyxNumberSid"))"#;
        let changed = tx.execute(sql, &[&text, &id, &sid]).await.map_err(taken)?;
        if !is_listed || changed > 0 {
            audit(&tx, id, "phone number assigned").await?;
        }
        tx.commit().await.map_err(failed::registry)?;
        self.forget(number);
        Ok(())
    }

    /// Takes a number from a tenant. Another of its numbers becomes the one to send from.
    ///
    /// # Errors
    /// [`Refused::NotFound`] when the number is not this tenant's.
    pub async fn release(&self, tenant: &TenantId, number: &E164) -> Result<(), Refused> {
        let (id, text) = (tenant.as_str(), number.as_str());
        let mut client = self.0.registry.client().await?;
        let tx = client.transaction().await.map_err(failed::registry)?;
        lock(&tx, id, text).await?;
        let sql = r#"DELETE FROM public."PhoneNumberRegistry"
                     WHERE "phoneNumber" = $1 AND "tenantId" = $2"#;
        let listed = tx.execute(sql, &[&text, &id]).await.map_err(failed::registry)?;
        let sql = r#"UPDATE public."Tenant" SET "telnyxNumberSid" = NULL,
                         "telnyxPhoneNumber" = (SELECT min("phoneNumber"::text)
                             FROM public."PhoneNumberRegistry" WHERE "tenantId" = $2),
                         "updatedAt" = current_timestamp
                     WHERE "id" = $2 AND "telnyxPhoneNumber" = $1"#;
        let primary = tx.execute(sql, &[&text, &id]).await.map_err(failed::registry)?;
        if listed == 0 && primary == 0 {
            return Err(Refused::NotFound);
        }
        audit(&tx, id, "phone number released").await?;
        tx.commit().await.map_err(failed::registry)?;
        self.forget(number);
        Ok(())
    }

    /// A tenant's numbers, the one to send from first.
    ///
    /// # Errors
    /// [`Refused::NotFound`] without such a tenant.
    pub async fn list(&self, tenant: &TenantId) -> Result<Vec<Held>, Refused> {
        let sql = r#"SELECT n.number, n.number = t."telnyxPhoneNumber" IS TRUE
                     FROM public."Tenant" t LEFT JOIN LATERAL (
                         SELECT "phoneNumber"::text AS number FROM public."PhoneNumberRegistry"
                             WHERE "tenantId" = t."id"
                         UNION SELECT t."telnyxPhoneNumber"::text
                             WHERE t."telnyxPhoneNumber" IS NOT NULL) n ON true
                     WHERE t."id" = $1 ORDER BY 2 DESC, 1"#;
        let client = self.0.registry.client().await?;
        let rows = client.query(sql, &[&tenant.as_str()]).await.map_err(failed::registry)?;
        if rows.is_empty() {
            return Err(Refused::NotFound);
        }
        let mut held = Vec::with_capacity(rows.len());
        for row in rows {
            let number: Option<String> = row.try_get(0).map_err(failed::registry)?;
            let primary: Option<bool> = row.try_get(1).map_err(failed::registry)?;
            held.extend(number.map(|n| Held { number: n, primary: primary.unwrap_or(false) }));
        }
        Ok(held)
    }
}

impl std::fmt::Debug for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Numbers")
    }
}

/// One change of a number at a time, and one of a tenant's numbers.
async fn lock(tx: &Transaction<'_>, tenant: &str, number: &str) -> Result<(), Refused> {
    let sql = "SELECT pg_advisory_xact_lock(hashtext('pgusher phone number'), hashtext($1))";
    tx.execute(sql, &[&number]).await.map_err(failed::registry)?;
    let sql = r#"SELECT FROM public."Tenant" WHERE "id" = $1 FOR NO KEY UPDATE"#;
    let row = tx.query_opt(sql, &[&tenant]).await.map_err(failed::registry)?;
    row.map(drop).ok_or(Refused::NotFound)
}

async fn audit(tx: &Transaction<'_>, tenant: &str, action: &str) -> Result<(), Fault> {
    let sql = "INSERT INTO pgusher.audit (tenant_id, actor, action) VALUES ($1, 'numbers', $2)";
    tx.execute(sql, &[&tenant, &action]).await.map(drop).map_err(failed::registry)
}

/// A broken unique constraint is somebody else's number, or number id.
fn taken(error: tokio_postgres::Error) -> Refused {
    if failed::broken_constraint(&error).is_some() {
        return Refused::NumberTaken;
    }
    failed::registry(error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDS: u64 = 200_000;

    #[test]
    fn an_owner_that_is_forgotten_while_it_is_noted_is_not_remembered() {
        let number = E164::parse("+15550000001").expect("number");
        let owner = TenantId::parse("before").expect("id");
        let owners = Owners::new();
        // Odd: it changes hands; even: it has.
        let turn = AtomicU64::new(0);
        let reached = |wanted| {
            while turn.load(Ordering::Acquire) < wanted {
                std::thread::yield_now();
            }
        };
        let mut stale = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..ROUNDS {
                    reached(2 * round + 1);
                    owners.forget(&number);
                    turn.fetch_add(1, Ordering::Release);
                }
            });
            for round in 0..ROUNDS {
                // Asked before it changes hands; the answer comes at about the same moment.
                let epoch = owners.epoch();
                turn.fetch_add(1, Ordering::Release);
                (0..round % 64).for_each(|_| std::hint::spin_loop());
                owners.insert(&number, owner.clone(), epoch);
                reached(2 * round + 2);
                stale += usize::from(owners.known.get(&number).is_some());
            }
        });
        assert_eq!(stale, 0, "of {ROUNDS}");
    }
}

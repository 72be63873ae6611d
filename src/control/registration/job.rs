//! The job row of a registration, and the registry's two commits.

use std::time::Duration;

use deadpool_postgres::Client as Pooled;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::Failure;

use crate::control::provision::Provisioner;
use crate::control::{Refused, failed};
use crate::fault::Fault;
use crate::ident::TenantId;

/// The version of role passwords new tenants get.
pub const KEY_VERSION: i32 = 1;

/// A registration under way.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) tenant: TenantId,
    pub(super) server: String,
    pub(super) admin_id: String,
    /// Whether its database was there already.
    pub(super) was_warm: bool,
    /// Whether somebody was told that it failed.
    pub(super) failed: bool,
    /// The only region it may be in.
    pub(super) region: Option<String>,
    /// What is still to be written, where it was kept.
    pub(super) rest: Option<Rest>,
}

/// What a job whose caller was answered keeps, so that anybody can finish it.
#[derive(Clone)]
pub(super) struct Rest {
    pub(super) sealed: Vec<u8>,
    pub(super) email: String,
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rest")
    }
}

/// What the tenant's rows say of where and for how long, beside the job itself.
pub(super) struct Terms<'a> {
    pub(super) holder: &'a str,
    pub(super) trial_days: i32,
    pub(super) collect_within: Duration,
}

/// What R1 writes.
pub(super) struct Claim<'a> {
    pub(super) id: &'a str,
    pub(super) idempotency_digest: Option<&'a [u8]>,
    pub(super) body_digest: &'a [u8],
    pub(super) email: &'a str,
    pub(super) email_hashes: &'a [String],
    pub(super) church_name: &'a str,
    pub(super) admin_id: &'a str,
    /// The id to use when no warm database is there.
    pub(super) fresh_tenant: &'a str,
    /// The server to clone on then, and to claim a warm one of rather than of the others.
    pub(super) fresh_server: &'a str,
    /// The servers whose warm databases may be claimed.
    pub(super) servers: &'a [String],
    /// Warm databases this process is connected to: the quickest.
    pub(super) held: &'a [String],
    pub(super) region: Option<&'a str>,
    /// What is to be written, for a caller who is answered before it is done.
    pub(super) sealed: Option<&'a [u8]>,
    pub(super) schema_version: &'a str,
    pub(super) holder: &'a str,
}

/// What was there before.
pub(super) struct Earlier {
    pub(super) body_digest: Vec<u8>,
    pub(super) step: String,
    pub(super) tenant: String,
    pub(super) admin_id: String,
    pub(super) id: String,
    /// Whether it was done just now and nobody took anything back since: its first tokens may be
    /// given out again.
    pub(super) is_fresh: bool,
}

/// What a registration `r` lets nobody in for any more who knows no more than its body: its tenant
/// or its admin was revoked, or a login takes a second factor.
pub(super) const UNTOUCHED: &str = "NOT EXISTS (SELECT FROM pgusher.revocations v
         WHERE v.tenant_id = r.tenant_id AND (v.kind IN ('tenant', 'tokens')
             OR (v.kind = 'admin' AND v.value = r.admin_id)))
     AND NOT EXISTS (SELECT FROM pgusher.audit a WHERE a.tenant_id = r.tenant_id
             AND a.actor = r.admin_id AND a.action = 'mfa enabled')";

/// How R1 ended.
pub(super) enum Claimed {
    Job(Job),
    EmailTaken,
    /// Another request with the same Idempotency-Key was faster.
    KeyTaken,
}

/// R1. One statement, one commit: the e-mail, the key and a warm database, or nothing.
pub(super) async fn claim(client: &Pooled, claim: &Claim<'_>) -> Result<Claimed, Fault> {
    let sql = r#"
        WITH taken AS (
            SELECT EXISTS (SELECT FROM public."AdminEmailIndex" WHERE "emailHash" = ANY ($5))
                OR EXISTS (SELECT FROM public."Tenant" WHERE "email" = $4)
                OR EXISTS (SELECT FROM public."Church" WHERE "email" = $4) AS yes
        ), warm AS (
            UPDATE pgusher.warm_databases SET state = 'claimed', changed_at = now(), held_by = $12
            WHERE NOT (SELECT yes FROM taken) AND tenant_id = (
                SELECT tenant_id FROM pgusher.warm_databases
                WHERE state = 'ready' AND server = ANY ($10) AND schema_version = $11
                ORDER BY server = $9 DESC, tenant_id = ANY ($13) DESC, created_at
                LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING tenant_id, server
        )
        INSERT INTO pgusher.registrations (id, idempotency_digest, body_digest, email, email_hash,
            church_name, admin_id, tenant_id, server, was_warm, step, held_by, region, deferred,
            sealed)
        SELECT $1, $2, $3, $4, ($5::text[])[1], $6, $7, coalesce(warm.tenant_id, $8),
            coalesce(warm.server, $9), warm.tenant_id IS NOT NULL,
            CASE WHEN warm.tenant_id IS NULL THEN 'claimed' ELSE 'cloned' END, $12, $14,
            $15::bytea IS NOT NULL, $15
        FROM taken LEFT JOIN warm ON true WHERE NOT taken.yes
        RETURNING id, tenant_id, server, admin_id, was_warm, false, region, sealed, email"#;
    let row: [&(dyn ToSql + Sync); 15] = [
        &claim.id,
        &claim.idempotency_digest,
        &claim.body_digest,
        &claim.email,
        &claim.email_hashes,
        &claim.church_name,
        &claim.admin_id,
        &claim.fresh_tenant,
        &claim.fresh_server,
        &claim.servers,
        &claim.schema_version,
        &claim.holder,
        &claim.held,
        &claim.region,
        &claim.sealed,
    ];
    let statement = client.prepare_cached(sql).await.map_err(failed::registry)?;
    match client.query_opt(&statement, &row).await {
        Ok(Some(row)) => Ok(Claimed::Job(Job::read(&row)?)),
        Ok(None) => Ok(Claimed::EmailTaken),
        Err(e) => match failed::broken_constraint(&e) {
            Some("registrations_email") => Ok(Claimed::EmailTaken),
            Some("registrations_idempotency_digest_key") => Ok(Claimed::KeyTaken),
            _ => Err(failed::registry(e)),
        },
    }
}

/// R3. One statement, one commit: the tenant is one. Done twice, it is done once; a job another
/// process took over is left to it.
pub(super) async fn finish(
    client: &Pooled,
    job: &Job,
    server: &Provisioner,
    terms: &Terms<'_>,
) -> Result<String, Refused> {
    let sql = r#"
        WITH was AS (
            SELECT email, email_hash, church_name FROM pgusher.registrations WHERE id = $1
        ), job AS (
            UPDATE pgusher.registrations SET step = 'done', held_by = NULL, changed_at = now(),
                email = NULL, church_name = NULL, sealed = NULL,
                collect_until = CASE WHEN deferred THEN now() + make_interval(secs => $12) END
            WHERE id = $1 AND held_by = $2 AND failure IS NULL
                AND step IN ('claimed', 'cloned', 'written')
            RETURNING tenant_id, now()::timestamp + make_interval(days => $3) AS trial_ends
        ), church AS (
            INSERT INTO public."Church" ("id", "name", "email", "subscriptionStatus",
                "trialEndsAt")
            SELECT tenant_id, church_name, email, 'trial', trial_ends FROM job, was
        ), tenant AS (
            INSERT INTO public."Tenant" ("id", "churchId", "name", "email", "databaseUrl",
                "databaseHost", "databasePort", "databaseName", "trialEndsAt", "schemaVersion")
            SELECT tenant_id, tenant_id, church_name, email, $4, $5, $6, $7, trial_ends, $8
            FROM job, was
        ), index AS (
            INSERT INTO public."AdminEmailIndex" ("emailHash", "tenantId")
            SELECT email_hash, tenant_id FROM job, was
        ), own AS (
            INSERT INTO pgusher.tenants (tenant_id, managed, server, key_version, own_version)
            SELECT tenant_id, true, $9, $10, $11 FROM job
        ), warm AS (
            DELETE FROM pgusher.warm_databases WHERE tenant_id IN (SELECT tenant_id FROM job)
        )
        SELECT to_char(trial_ends, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') FROM job"#;
    let url = server.database_url(&job.tenant);
    let (text, port) = (url.without_password(), i32::from(url.port));
    let (version, name) = (server.schema_version(), server.name());
    let collect = terms.collect_within.as_secs_f64();
    let row: [&(dyn ToSql + Sync); 12] = [
        &job.id,
        &terms.holder,
        &terms.trial_days,
        &text,
        &url.host,
        &port,
        &url.database,
        &version,
        &&**name,
        &KEY_VERSION,
        &server.own_version(),
        &collect,
    ];
    let statement = client.prepare_cached(sql).await.map_err(failed::registry)?;
    let done = client.query_opt(&statement, &row).await.map_err(|e| {
        // Whoever registered this e-mail elsewhere meanwhile was first.
        let taken = matches!(failed::broken_constraint(&e), Some(name) if !name.ends_with("pkey"))
            || failed::broken_constraint(&e) == Some("AdminEmailIndex_pkey");
        if taken { Refused::EmailTaken } else { failed::registry(e).into() }
    })?;
    let row = done.ok_or(Refused::InProgress)?;
    Ok(row.try_get(0).map_err(failed::registry)?)
}

/// The registration that used this Idempotency-Key; one that was done within `fresh` is fresh.
pub(super) async fn earlier(
    client: &Client,
    key: &[u8],
    fresh: Duration,
) -> Result<Option<Earlier>, Fault> {
    let sql = format!(
        "SELECT body_digest, step, tenant_id, admin_id, id,
             step = 'done' AND changed_at > now() - make_interval(secs => $2) AND {UNTOUCHED}
         FROM pgusher.registrations r WHERE idempotency_digest = $1"
    );
    let row = client.query_opt(&sql, &[&key, &fresh.as_secs_f64()]).await;
    let row = row.map_err(failed::registry)?;
    row.map(|row| {
        Ok(Earlier {
            body_digest: row.try_get(0)?,
            step: row.try_get(1)?,
            tenant: row.try_get(2)?,
            admin_id: row.try_get(3)?,
            id: row.try_get(4)?,
            is_fresh: row.try_get(5)?,
        })
    })
    .transpose()
    .map_err(failed::registry)
}

/// Notes how far it is. Whether it is still `holder`'s: one that the janitor took over is another's
/// to carry out.
pub(super) async fn note(
    client: &Client,
    job: &Job,
    step: &str,
    holder: &str,
) -> Result<bool, Fault> {
    let sql = "UPDATE pgusher.registrations SET step = $2, changed_at = now() \
               WHERE id = $1 AND held_by = $3 AND step IN ('claimed', 'cloned', 'written')";
    let row: [&(dyn ToSql + Sync); 3] = [&job.id, &step, &holder];
    Ok(client.execute(sql, &row).await.map_err(failed::registry)? > 0)
}

/// Notes that a job failed: it is going to be undone, and nobody finishes it any more. Whether it
/// is still `holder`'s and not done: only then may what there is of it be dropped.
pub(super) async fn failed(
    client: &Client,
    job: &Job,
    holder: &str,
    why: Failure,
) -> Result<bool, Fault> {
    let sql = "UPDATE pgusher.registrations SET failure = coalesce(failure, $2), \
                   changed_at = now() \
               WHERE id = $1 AND held_by = $3 AND step IN ('claimed', 'cloned', 'written')";
    let row: [&(dyn ToSql + Sync); 3] = [&job.id, &why.as_str(), &holder];
    Ok(client.execute(sql, &row).await.map_err(failed::registry)? > 0)
}

/// Takes one job that nobody alive works on. What it keeps for its end is good for an hour: a job
/// that could not be finished until then is undone.
pub(super) async fn take_over(client: &Client, holder: &str) -> Result<Option<Job>, Fault> {
    let sql = "UPDATE pgusher.registrations SET held_by = $1, changed_at = now() WHERE id = (
                   SELECT id FROM pgusher.registrations r
                   WHERE step IN ('claimed', 'cloned', 'written')
                   AND (held_by IS NULL
                        OR NOT EXISTS (SELECT FROM pgusher.processes p WHERE p.id = r.held_by))
                   ORDER BY changed_at LIMIT 1 FOR UPDATE SKIP LOCKED)
               RETURNING id, tenant_id, server, admin_id, was_warm, failure IS NOT NULL, region,
                   CASE WHEN created_at > now() - interval '1 hour' THEN sealed END, email";
    let row = client.query_opt(sql, &[&holder]).await.map_err(failed::registry)?;
    row.map(|row| Job::read(&row)).transpose()
}

/// The last word on a job whose database and logins are gone.
pub(super) async fn undone(
    client: &Client,
    job: &Job,
    holder: &str,
    why: Option<Failure>,
) -> Result<(), Fault> {
    let sql = "WITH job AS (
                   UPDATE pgusher.registrations SET step = 'undone', held_by = NULL,
                       idempotency_digest = NULL, email = NULL, church_name = NULL,
                       sealed = NULL, failure = coalesce(failure, $2), changed_at = now()
                   WHERE id = $1 AND held_by = $3 AND step IN ('claimed', 'cloned', 'written')
                   RETURNING tenant_id
               ), families AS (
                   DELETE FROM pgusher.refresh_families WHERE tenant_id IN (SELECT tenant_id FROM job)
               )
               DELETE FROM pgusher.warm_databases WHERE tenant_id IN (SELECT tenant_id FROM job)";
    let row: [&(dyn ToSql + Sync); 3] = [&job.id, &why.map(Failure::as_str), &holder];
    client.execute(sql, &row).await.map_err(failed::registry)?;
    Ok(())
}

/// The last word on a job whose server cannot be asked: whatever there is of the database is left
/// to be dropped as one that was never finished.
pub(super) async fn abandon(
    client: &Client,
    job: &Job,
    holder: &str,
    version: &str,
) -> Result<(), Fault> {
    let sql = "WITH job AS (
                   UPDATE pgusher.registrations SET step = 'undone', held_by = NULL,
                       idempotency_digest = NULL, email = NULL, church_name = NULL,
                       sealed = NULL, changed_at = now()
                   WHERE id = $1 AND held_by = $4 AND step IN ('claimed', 'cloned', 'written')
                   RETURNING tenant_id, server, admin_id
               ), families AS (
                   DELETE FROM pgusher.refresh_families WHERE tenant_id IN (SELECT tenant_id FROM job)
               )
               INSERT INTO pgusher.warm_databases
                   (tenant_id, server, schema_version, key_version, state, admin_id)
               SELECT tenant_id, server, $2, $3, 'creating', admin_id FROM job
               ON CONFLICT (tenant_id) DO UPDATE SET state = 'creating', held_by = NULL,
                   admin_id = excluded.admin_id, changed_at = now()";
    let row: [&(dyn ToSql + Sync); 4] = [&job.id, &version, &KEY_VERSION, &holder];
    client.execute(sql, &row).await.map_err(failed::registry)?;
    Ok(())
}

/// Gives a job whose server went away another place, and leaves the old one to be dropped.
/// Whether the job was still ours.
pub(super) async fn replace(
    client: &Client,
    job: &mut Job,
    (tenant, server): (&TenantId, &Provisioner),
    holder: &str,
) -> Result<bool, Fault> {
    let sql = "WITH was AS (
                   SELECT tenant_id, server, admin_id FROM pgusher.registrations WHERE id = $1
               ), job AS (
                   UPDATE pgusher.registrations SET tenant_id = $2, server = $3, step = 'claimed',
                       was_warm = false, changed_at = now()
                   WHERE id = $1 AND held_by = $4 AND step IN ('claimed', 'cloned', 'written')
                   RETURNING id
               ), families AS (
                   DELETE FROM pgusher.refresh_families
                   WHERE tenant_id IN (SELECT was.tenant_id FROM was, job)
               )
               INSERT INTO pgusher.warm_databases
                   (tenant_id, server, schema_version, key_version, state, admin_id)
               SELECT was.tenant_id, was.server, $5, $6, 'creating', was.admin_id FROM was, job
               ON CONFLICT (tenant_id) DO UPDATE SET state = 'creating', held_by = NULL,
                   admin_id = excluded.admin_id, changed_at = now()";
    let (name, version) = (&**server.name(), server.warm_version());
    let row: [&(dyn ToSql + Sync); 6] =
        [&job.id, &tenant.as_str(), &name, &holder, &version, &KEY_VERSION];
    let moved = client.execute(sql, &row).await.map_err(failed::registry)?;
    if moved > 0 {
        job.tenant = tenant.clone();
        name.clone_into(&mut job.server);
        job.was_warm = false;
    }
    Ok(moved > 0)
}

impl Job {
    fn read(row: &Row) -> Result<Self, Fault> {
        let tenant: String = row.try_get(1).map_err(failed::registry)?;
        let sealed: Option<Vec<u8>> = row.try_get(7).map_err(failed::registry)?;
        let email: Option<String> = row.try_get(8).map_err(failed::registry)?;
        Ok(Self {
            id: row.try_get(0).map_err(failed::registry)?,
            tenant: TenantId::parse(&tenant).map_err(failed::internal)?,
            server: row.try_get(2).map_err(failed::registry)?,
            admin_id: row.try_get(3).map_err(failed::registry)?,
            was_warm: row.try_get(4).map_err(failed::registry)?,
            failed: row.try_get(5).map_err(failed::registry)?,
            region: row.try_get(6).map_err(failed::registry)?,
            rest: sealed.zip(email).map(|(sealed, email)| Rest { sealed, email }),
        })
    }
}

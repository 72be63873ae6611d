//! Warm databases that nobody will ask for, dropped.

use super::warm::Warm;
use crate::control::failed;
use crate::control::provision::Provisioner;
use crate::fault::Fault;
use crate::ident::TenantId;

/// Takes those that nobody will ask for away first, so that nobody claims what is being dropped. A
/// newer schema is the work of a newer pgusher beside this one. One state at a time: a row that
/// changes while the statement waits for it is judged again, but by the other tables as they were
/// when the statement began, so one that was claimed just now would seem to have no registration.
const TAKE: &str = "UPDATE pgusher.warm_databases w
    SET state = 'creating', held_by = $1, changed_at = now()
    WHERE server = $2 AND state = $4 AND (
        (state = 'ready' AND schema_version ~ '^[0-9.]{1,18}$'
            AND string_to_array(schema_version, '.')::int[] < string_to_array($3, '.')::int[])
        OR (state = 'creating' AND NOT EXISTS
            (SELECT FROM pgusher.processes p WHERE p.id = w.held_by))
        OR (state = 'claimed' AND NOT EXISTS
            (SELECT FROM pgusher.registrations r WHERE r.tenant_id = w.tenant_id)))
    RETURNING tenant_id, admin_id";

impl Warm {
    /// Drops warm databases that were never finished, or whose schema is older than the newest.
    /// How many. One sweep at a time in a process.
    pub(super) async fn sweep(&self) -> Result<u32, Fault> {
        self.let_go_of_given_up().await?;
        let mut dropped = 0;
        for server in self.0.servers.values() {
            for state in ["ready", "creating", "claimed"] {
                for (tenant, admin_id) in self.take(server, state).await? {
                    let gone = self.drop_one(server, &tenant, admin_id.as_deref()).await?;
                    dropped += u32::from(gone);
                }
            }
        }
        Ok(dropped)
    }

    /// Lets go of what this process holds and neither makes nor drops any more: those whose row was
    /// written and the answer lost, and what an earlier sweep left.
    async fn let_go_of_given_up(&self) -> Result<(), Fault> {
        let (client, holder) = (self.0.registry.client().await?, self.0.presence.id());
        let sql = "SELECT tenant_id FROM pgusher.warm_databases \
                   WHERE held_by = $1 AND state = 'creating'";
        let mut held = Vec::new();
        for row in client.query(sql, &[&holder]).await.map_err(failed::registry)? {
            held.push(row.try_get(0).map_err(failed::registry)?);
        }
        let given_up = self.0.making.given_up(held);
        let sql = "UPDATE pgusher.warm_databases SET held_by = NULL \
                   WHERE tenant_id = ANY ($1) AND held_by = $2 AND state = 'creating'";
        drop(client);
        self.write(sql, &[&given_up, &holder]).await
    }

    async fn take(
        &self,
        server: &Provisioner,
        state: &str,
    ) -> Result<Vec<(TenantId, Option<String>)>, Fault> {
        let (name, version) = (&**server.name(), server.warm_version());
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&self.0.presence.id(), &name, &version, &state];
        let client = self.0.registry.client().await?;
        let mut taken = Vec::new();
        for row in client.query(TAKE, &row).await.map_err(failed::registry)? {
            let id: String = row.try_get(0).map_err(failed::registry)?;
            let admin_id = row.try_get(1).map_err(failed::registry)?;
            taken.push((TenantId::parse(&id).map_err(failed::internal)?, admin_id));
        }
        Ok(taken)
    }

    /// Whether it is gone; if not, it is anybody's next time. One that is a tenant's is no more ours.
    async fn drop_one(
        &self,
        server: &Provisioner,
        tenant: &TenantId,
        admin_id: Option<&str>,
    ) -> Result<bool, Fault> {
        drop(self.held(tenant));
        let gone = server.drop_unfinished(tenant, admin_id).await;
        let sql = if gone.is_ok() {
            "DELETE FROM pgusher.warm_databases WHERE tenant_id = $1"
        } else {
            "UPDATE pgusher.warm_databases SET held_by = NULL WHERE tenant_id = $1"
        };
        self.write(sql, &[&tenant.as_str()]).await?;
        Ok(gone.inspect_err(Fault::log).unwrap_or(false))
    }
}

//! Warm databases that nobody will ask for, dropped.

use super::warm::Warm;
use crate::control::failed;
use crate::fault::Fault;
use crate::ident::TenantId;

impl Warm {
    /// Drops warm databases that were never finished, or whose schema is older than the newest.
    /// How many.
    pub(super) async fn sweep(&self) -> Result<u32, Fault> {
        let (registry, mut dropped) = (&self.0.registry, 0);
        for (name, server) in &*self.0.servers {
            // Taken away first, so that nobody claims what is being dropped. A newer schema is
            // the work of a newer pgusher beside this one.
            let sql = "UPDATE pgusher.warm_databases w
                       SET state = 'creating', held_by = $1, changed_at = now()
                       WHERE server = $2 AND (
                           (state = 'ready' AND schema_version ~ '^[0-9.]{1,18}$'
                               AND string_to_array(schema_version, '.')::int[]
                                   < string_to_array($3, '.')::int[])
                           OR (state = 'creating' AND NOT EXISTS
                               (SELECT FROM pgusher.processes p WHERE p.id = w.held_by))
                           OR (state = 'claimed' AND NOT EXISTS
                               (SELECT FROM pgusher.registrations r
                                WHERE r.tenant_id = w.tenant_id)))
                       RETURNING tenant_id";
            let version = server.warm_version();
            let client = registry.client().await?;
            let row: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
                [&self.0.presence.id(), &&**name, &version];
            let rows = client.query(sql, &row).await.map_err(failed::registry)?;
            drop(client);
            for row in rows {
                let id: String = row.try_get(0).map_err(failed::registry)?;
                let tenant = TenantId::parse(&id).map_err(failed::internal)?;
                drop(self.held(&tenant));
                let gone = server.drop_tenant(&tenant).await;
                let sql = if gone.is_ok() {
                    "DELETE FROM pgusher.warm_databases WHERE tenant_id = $1"
                } else {
                    "UPDATE pgusher.warm_databases SET held_by = NULL WHERE tenant_id = $1"
                };
                let client = registry.client().await?;
                client.execute(sql, &[&id]).await.map_err(failed::registry)?;
                match gone {
                    Ok(()) => dropped += 1,
                    Err(fault) => fault.log(),
                }
            }
        }
        Ok(dropped)
    }
}

//! A provisioner's own connection inside one tenant's database, and what it writes there.

use tokio_postgres::{Client, Statement};

use super::NewAdmin;
use super::database::Step;
use crate::ident::TenantId;

/// A connection inside a tenant's database. It counts in that database's CONNECTION LIMIT and in
/// the server's `max_connections`; dropping it closes it.
pub struct Inside {
    client: Client,
    tenant: TenantId,
    mark: Option<Statement>,
}

/// Whose database it is and its first admin, in one statement and so in one commit. Written
/// twice, it is written once. Gives whose mark the database bears.
const MARK: &str = r#"
    WITH mark AS (
        INSERT INTO pgusher.tenant_mark (tenant_id) VALUES ($1)
        ON CONFLICT DO NOTHING RETURNING tenant_id
    ), whose AS (
        SELECT tenant_id FROM mark UNION ALL SELECT tenant_id FROM pgusher.tenant_mark
    ), admin AS (
        INSERT INTO public."Admin" ("id", "email", "password", "firstName", "lastName", "role")
        SELECT $2, $3, $4, $5, $6, 'PRIMARY' FROM whose WHERE tenant_id = $1
        ON CONFLICT ("id") DO NOTHING
    )
    SELECT tenant_id FROM whose"#;

/// A mark that another transaction has just written is not seen by the statement that met it.
const TRIES: u32 = 3;

impl Inside {
    pub(super) fn new(client: Client, tenant: &TenantId) -> Self {
        Self { client, tenant: tenant.clone(), mark: None }
    }

    /// The tenant it is inside of.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Whether the connection is known to be lost.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Writes and takes it back, so that the server process has its catalogs, plans and triggers
    /// loaded when it counts.
    pub(super) async fn rehearse(&mut self) -> Result<(), Step> {
        let nobody = NewAdmin {
            id: "rehearsal".to_owned(),
            email: String::new(),
            password: "".into(),
            first_name: String::new(),
            last_name: String::new(),
        };
        self.client.batch_execute("BEGIN").await?;
        let written = self.write(&nobody).await;
        self.client.batch_execute("ROLLBACK").await?;
        written
    }

    pub(super) async fn write(&mut self, admin: &NewAdmin) -> Result<(), Step> {
        let statement = match &self.mark {
            Some(statement) => statement.clone(),
            None => self.client.prepare(MARK).await?,
        };
        self.mark = Some(statement.clone());
        let password = admin.password.expose();
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 6] = [
            &self.tenant.as_str(),
            &admin.id,
            &admin.email,
            &password,
            &admin.first_name,
            &admin.last_name,
        ];
        for _ in 0..TRIES {
            let Some(found) = self.client.query_opt(&statement, &row).await? else {
                continue;
            };
            let whose: String = found.try_get(0)?;
            return if whose == self.tenant.as_str() { Ok(()) } else { Err(Step::Foreign) };
        }
        Err(Step::Foreign)
    }
}

impl std::fmt::Debug for Inside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inside").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

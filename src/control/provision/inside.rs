//! A provisioner's own connection inside one tenant's database, and what it writes there.

use tokio_postgres::{Client, Statement};

use super::NewAdmin;
use super::database::{self, Bearer, Step};
use crate::ident::TenantId;

/// A connection inside a tenant's database. It counts in that database's CONNECTION LIMIT and in
/// the server's `max_connections`; dropping it closes it.
pub struct Inside {
    client: Client,
    tenant: TenantId,
    statements: Option<Statements>,
}

/// Whose database it is. While this row is not committed, nobody can have made the tenant live;
/// where it is there already, another has, and the tenant's own triggers may lie in wait.
const MARK: &str = "INSERT INTO pgusher.tenant_mark (tenant_id) VALUES ($1) \
                    ON CONFLICT DO NOTHING RETURNING tenant_id";

const ADMIN: &str = r#"
    INSERT INTO public."Admin" ("id", "email", "password", "firstName", "lastName", "role")
    VALUES ($1, $2, $3, $4, $5, 'PRIMARY')"#;

/// The two of them, prepared.
#[derive(Clone)]
struct Statements {
    mark: Statement,
    admin: Statement,
}

impl Inside {
    pub(super) fn new(client: Client, tenant: &TenantId) -> Self {
        Self { client, tenant: tenant.clone(), statements: None }
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
        let written = self.begun(&nobody).await;
        self.client.batch_execute("ROLLBACK").await?;
        written
    }

    /// The mark and the admin, in one commit. Written twice, it is written once.
    pub(super) async fn write(&mut self, admin: &NewAdmin) -> Result<(), Step> {
        let written = self.begun(admin).await;
        let end = if written.is_ok() { "COMMIT" } else { "ROLLBACK" };
        self.client.batch_execute(end).await?;
        written
    }

    async fn begun(&mut self, admin: &NewAdmin) -> Result<(), Step> {
        let statements = match &self.statements {
            Some(statements) => statements.clone(),
            None => Statements {
                mark: self.client.prepare(MARK).await?,
                admin: self.client.prepare(ADMIN).await?,
            },
        };
        self.statements = Some(statements.clone());
        let tenant = self.tenant.as_str();
        // Sent together, in this order.
        let mark: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&tenant];
        let begin = self.client.batch_execute("BEGIN");
        let marked = self.client.query_opt(&statements.mark, &mark);
        let ((), marked) = futures_util::future::try_join(begin, marked).await?;
        if marked.is_none() {
            let whose = database::bearer(&self.client, &self.tenant, Some(&admin.id)).await?;
            return if whose == Bearer::Asked { Ok(()) } else { Err(Step::Foreign) };
        }
        let password = admin.password.expose();
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&admin.id, &admin.email, &password, &admin.first_name, &admin.last_name];
        self.client.execute(&statements.admin, &row).await?;
        Ok(())
    }
}

impl std::fmt::Debug for Inside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inside").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

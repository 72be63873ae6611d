//! Admins, as their tenant's own database has them.

use tokio_postgres::Client;

use super::registration::AdminView;
use super::{Refused, road};
use crate::ident::Role;
use crate::units::Secret;

/// An admin's row.
pub(super) struct Admin {
    pub(super) id: String,
    /// Of the password.
    pub(super) hash: Secret,
    pub(super) view: AdminView,
    pub(super) active: bool,
}

impl Admin {
    /// The admin with this normalised e-mail.
    pub(super) async fn by_email(client: &Client, email: &str) -> Result<Option<Self>, Refused> {
        let sql = r#"SELECT to_jsonb(a) FROM "Admin" a WHERE lower(a."email") = $1 LIMIT 1"#;
        Self::read(client, sql, email).await
    }

    /// The admin with this id.
    pub(super) async fn by_id(client: &Client, id: &str) -> Result<Option<Self>, Refused> {
        let sql = r#"SELECT to_jsonb(a) FROM "Admin" a WHERE a."id"::text = $1 LIMIT 1"#;
        Self::read(client, sql, id).await
    }

    /// What its tokens may do.
    pub(super) fn role(&self) -> Role {
        if self.view.role == "PRIMARY" { Role::Owner } else { Role::App }
    }

    /// Reads the row as JSON: an adopted database may have fewer columns, or a uuid for an id.
    async fn read(client: &Client, sql: &str, by: &str) -> Result<Option<Self>, Refused> {
        // PostgreSQL's texts hold no NUL.
        if by.contains('\0') {
            return Ok(None);
        }
        let Some(row) = road::in_time(client.query_opt(sql, &[&by])).await? else {
            return Ok(None);
        };
        let row: serde_json::Value = road::in_time(async { row.try_get(0) }).await?;
        let text = |key: &str| match row.get(key) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(serde_json::Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        Ok(Some(Self {
            id: text("id"),
            hash: text("password").into(),
            active: row.get("isActive").and_then(serde_json::Value::as_bool).unwrap_or(true),
            view: AdminView {
                id: text("id"),
                email: text("email").trim().to_lowercase(),
                first_name: text("firstName"),
                last_name: text("lastName"),
                role: text("role"),
            },
        }))
    }
}

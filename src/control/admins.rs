//! Admins, as their tenant's own database has them.

use tokio_postgres::Client;

use super::registration::AdminView;
use super::{Refused, road, sql};
use crate::ident::Role;
use crate::units::Secret;

/// What is read of a row, where it has it.
const COLUMNS: [&str; 7] = ["id", "email", "password", "isActive", "firstName", "lastName", "role"];

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
        Self::read(client, r#"lower(a."email")"#, email).await
    }

    /// The admin with this id.
    pub(super) async fn by_id(client: &Client, id: &str) -> Result<Option<Self>, Refused> {
        Self::read(client, r#"a."id"::text"#, id).await
    }

    /// What its tokens may do.
    pub(super) fn role(&self) -> Role {
        if self.view.role == "PRIMARY" { Role::Owner } else { Role::App }
    }

    /// Reads the row as JSON: an adopted database may have fewer columns, or a uuid for an id.
    /// One without an id is nobody.
    async fn read(client: &Client, column: &str, by: &str) -> Result<Option<Self>, Refused> {
        // PostgreSQL's texts hold no NUL.
        if by.contains('\0') {
            return Ok(None);
        }
        let row = sql::slim("a");
        let sql = format!(r#"SELECT {row} FROM "Admin" a WHERE {column} = $1 LIMIT 1"#);
        let Some(row) = road::in_time(client.query_opt(&sql, &[&by, &COLUMNS])).await? else {
            return Ok(None);
        };
        let row: Option<serde_json::Value> = road::in_time(async { row.try_get(0) }).await?;
        let row = row.unwrap_or_default();
        let text = |key: &str| match row.get(key) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(serde_json::Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        if text("id").is_empty() {
            return Ok(None);
        }
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

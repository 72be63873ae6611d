//! `pgusher tenant drop`.

use serde_json::json;

use super::DropArguments;
use crate::boot::Office;
use crate::cli::command::Common;
use crate::cli::{Answer, Failure};
use crate::control::Refused;
use crate::control::fleet::Fleet;

/// Drops everything of a tenant that pgusher made.
pub(super) async fn erase(common: &Common, asked: &DropArguments) -> Result<Answer, Failure> {
    let id = &asked.tenant.id;
    if !asked.yes {
        return Err(Failure::usage("--yes says that the tenant's data may be lost for good"));
    }
    let config = asked.tenant.registry.settle(common)?;
    let office = Office::open(&config).map_err(|all| Failure::new(all.join("\n")))?;
    let fleet = Fleet::new(office.built.registry.clone());
    let dropped = Box::pin(fleet.drop_tenant(id, &office.built.servers)).await;
    Box::pin(office.close()).await;
    dropped.map_err(|refused| match refused {
        Refused::NotFound => {
            Failure::new(format!("no tenant {id} that pgusher made; an adopted database is yours"))
        }
        other => other.into(),
    })?;
    let json = json!({ "tenantId": id.as_str(), "dropped": true });
    Ok(Answer::new(format!("{id}: dropped"), json))
}

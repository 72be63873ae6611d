//! `pgusher tenant create`: a registration without HTTP.

use std::io::Read as _;
use std::path::Path;

use serde_json::json;

use super::CreateArguments;
use crate::boot::Office;
use crate::cli::command::Common;
use crate::cli::registry::random_text;
use crate::cli::{Answer, Failure};
use crate::control::registration::{NewOrganisation, Registered};
use crate::units::Secret;

/// The longest password file that is read.
const FILE_BYTES_MAX: u64 = 4096;

/// Makes the tenant and hands out its first admin's credentials, once.
pub(super) async fn create(common: &Common, asked: &CreateArguments) -> Result<Answer, Failure> {
    let config = asked.registry.settle(common)?;
    let made_up = asked.password_file.is_none();
    let password = match &asked.password_file {
        Some(file) => read(file)?,
        None => random_text().map_err(Failure::new)?,
    };
    let organisation = NewOrganisation {
        email: asked.email.clone(),
        password: password.clone(),
        first_name: asked.first_name.clone(),
        last_name: asked.last_name.clone(),
        church_name: asked.name.clone(),
        region: asked.region.clone(),
    };
    let office = Office::open(&config).map_err(|all| Failure::new(all.join("\n")))?;
    let made = async {
        office.announce().await?;
        office.registration.register(organisation, None).await
    };
    let made = Box::pin(made).await;
    Box::pin(office.close()).await;
    let made = made?;
    Ok(answer(&made, made_up.then_some(&password)))
}

/// Printed on purpose: these are what the command is run for.
fn answer(made: &Registered, password: Option<&Secret>) -> Answer {
    let (id, admin) = (&made.tenant, &made.admin);
    let mut text = format!("tenant: {id}\ndatabase: {}\nadmin: {}\n", id.database(), admin.email);
    if let Some(password) = password {
        text.push_str("password: ");
        text.push_str(password.expose());
        text.push('\n');
    }
    let tokens = made.tokens.as_ref();
    if let Some(tokens) = tokens {
        text.push_str("token: ");
        text.push_str(tokens.access.expose());
    }
    let json = json!({
        "tenantId": id.as_str(),
        "databaseName": id.database(),
        "admin": { "id": admin.id, "email": admin.email },
        "password": password.map(Secret::expose),
        "accessToken": tokens.map(|tokens| tokens.access.expose()),
        "refreshToken": tokens.map(|tokens| tokens.refresh.expose()),
        "expiresIn": tokens.map(|tokens| tokens.expires_in),
        "trialEndsAt": made.church.trial_ends_at,
    });
    Answer::new(text, json)
}

/// A password from a file, without the newline at its end.
fn read(file: &Path) -> Result<Secret, Failure> {
    let wrong = |e: std::io::Error| Failure::new(format!("{}: {e}", file.display()));
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(wrong)?;
    } else {
        let opened = std::fs::File::open(file).map_err(wrong)?;
        opened.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(wrong)?;
    }
    let kept = text.strip_suffix('\n').unwrap_or(&text);
    Ok(kept.strip_suffix('\r').unwrap_or(kept).into())
}

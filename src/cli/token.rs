//! `pgusher token`: issue signs with the configuration's key and asks nobody; revoke writes the
//! registry.

use std::time::SystemTime;

use clap::{Args, Subcommand};
use serde_json::json;

use super::command::Common;
use super::revoke::{RevokeArguments, revoke};
use super::{Answer, Failure};
use crate::auth::{Grant, Minted, Power, Signer};
use crate::http::rfc3339_of;
use crate::ident::{Role, TenantId};
use crate::units::Span;

/// What can be done with tokens.
#[derive(Debug, Clone, Subcommand)]
pub enum TokenCommand {
    /// Mints a token: a tenant's (--tenant) or an operator's (--operator).
    Issue(IssueArguments),
    /// Revokes a token, an API key, an admin's logins, or everything of a tenant.
    Revoke(RevokeArguments),
}

/// What the token says.
#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("whose").required(true).args(["tenant", "operator"]))]
pub struct IssueArguments {
    /// The tenant whose database it opens.
    #[arg(long, value_name = "ID", value_parser = TenantId::parse)]
    pub tenant: Option<TenantId>,
    /// An operator's token instead: `stats` looks, `admin` looks and acts.
    #[arg(long, value_name = "POWER", value_parser = power)]
    pub operator: Option<Power>,
    /// What a tenant's token may do: `owner`, `app` or `readonly`.
    #[arg(long, value_name = "ROLE", default_value = "app", conflicts_with = "operator")]
    pub role: Role,
    /// How long it lives, such as 15m or 7d; by default as `auth.signer` says.
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub ttl: Option<Span>,
    /// Who holds it, for logs and for revoking everything of one holder.
    #[arg(long, value_name = "NAME", default_value = "pgusher-cli")]
    pub subject: String,
}

/// Does it.
///
/// # Errors
/// When there is no key to sign with; as [`revoke`].
pub(super) async fn token(common: &Common, asked: &TokenCommand) -> Result<Answer, Failure> {
    match asked {
        TokenCommand::Issue(asked) => issue(common, asked),
        TokenCommand::Revoke(asked) => Box::pin(revoke(common, asked)).await,
    }
}

fn issue(common: &Common, asked: &IssueArguments) -> Result<Answer, Failure> {
    let config = common.load()?;
    let signer = Signer::new(config.auth.signer).map_err(|problems| {
        let all: Vec<_> = problems.iter().map(|p| format!("auth.signer: {p}")).collect();
        Failure::new(all.join("\n"))
    })?;
    let now = SystemTime::now();
    let lifetime = asked.ttl.map(Span::get);
    match (&asked.tenant, asked.operator) {
        (Some(tenant), _) => {
            let grant = Grant {
                tenant: tenant.clone(),
                role: asked.role,
                subject: asked.subject.clone(),
                scopes: Vec::new(),
                lifetime,
            };
            let minted = signer.access(&grant, now)?;
            let mut json = described(&minted);
            json["tenantId"] = tenant.as_str().into();
            json["role"] = asked.role.as_str().into();
            Ok(Answer::new(minted.token.expose(), json))
        }
        (None, Some(power)) => {
            let minted = signer.operator(power, &asked.subject, lifetime, now)?;
            let mut json = described(&minted);
            json["operator"] = power.as_str().into();
            Ok(Answer::new(minted.token.expose(), json))
        }
        // Clap lets nothing else through.
        (None, None) => Err(Failure::usage("--tenant or --operator")),
    }
}

/// Printed on purpose: the token is what the command is run for.
fn described(minted: &Minted) -> serde_json::Value {
    json!({
        "token": minted.token.expose(),
        "tokenId": minted.id.as_str(),
        "expiresAt": rfc3339_of(minted.expires_at),
    })
}

fn power(text: &str) -> Result<Power, &'static str> {
    Power::parse(text).ok_or("it is `stats` or `admin`")
}

fn lifetime(text: &str) -> Result<Span, String> {
    let span: Span = text.parse()?;
    if span.nonzero().is_some() { Ok(span) } else { Err("a token has to live".to_owned()) }
}

//! `pgusher tenant letters`: messages that could not be stored, by way of a running pgusher: a
//! tenant's data has one road, and it is inside.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::client::bearer;
use crate::cli::command::Common;
use crate::cli::{Answer, Client, Failure};
use crate::ident::TenantId;

/// What can be done to dead letters.
#[derive(Debug, Clone, Subcommand)]
pub enum LettersCommand {
    /// Lists what could not be stored: ids and reasons to look, never texts.
    List(LettersArguments),
    /// Tries again: one, or all that wait.
    Replay(ReplayArguments),
}

/// Whose, and whom to ask.
#[derive(Debug, Clone, Args)]
pub struct LettersArguments {
    /// The tenant's id.
    #[arg(value_name = "ID", value_parser = TenantId::parse)]
    pub id: TenantId,
    /// The ops listener of the pgusher to ask, instead of `ops.address`.
    #[arg(long, value_name = "ADDR")]
    pub ops: Option<SocketAddr>,
    /// A file with an operator's token; off loopback it takes one, and an `admin`'s to replay.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// Which.
#[derive(Debug, Clone, Args)]
pub struct ReplayArguments {
    /// Whose, and whom to ask.
    #[command(flatten)]
    pub of: LettersArguments,
    /// Only this letter.
    #[arg(value_name = "LETTER")]
    pub letter: Option<String>,
}

/// Does it.
pub(super) async fn letters(common: &Common, asked: &LettersCommand) -> Result<Answer, Failure> {
    let of = match asked {
        LettersCommand::List(of) => of,
        LettersCommand::Replay(asked) => &asked.of,
    };
    let ops = match of.ops {
        Some(address) => address,
        None => common.load()?.ops.address.ok_or_else(|| {
            Failure::usage("no ops listener is configured: name a running pgusher's by --ops ADDR")
        })?,
    };
    let token = of.token_file.as_ref().map(|file| {
        let text = std::fs::read_to_string(file);
        text.map_err(|e| Failure::new(format!("{}: {e}", file.display())))
    });
    let bearer = token.transpose()?.map(|token| bearer(token.trim()));
    let headers: Vec<_> = bearer.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (client, path) = (Client::new(ops), format!("/tenants/{}/dead-letters", of.id));
    match asked {
        LettersCommand::List(_) => {
            let found = client.get(&path, &headers).await.map_err(Failure::new)?;
            Ok(Answer::new(table(&found), found))
        }
        LettersCommand::Replay(asked) => {
            let body = json!({ "id": asked.letter });
            let path = format!("{path}/replay");
            let done = client.post(&path, &headers, &body).await.map_err(Failure::new)?;
            let count = |key: &str| done[key].as_u64().unwrap_or_default();
            let text = format!(
                "stored: {}\ndead still: {}\ngone: {}",
                count("resolved"),
                count("dead"),
                count("gone")
            );
            if count("dead") > 0 {
                return Err(Failure::with(text, done));
            }
            Ok(Answer::new(text, done))
        }
    }
}

fn table(found: &Value) -> String {
    let rows = found["deadLetters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines =
        vec![format!("{:36}  {:20}  {:8}  {:8}  TRIES", "LETTER", "SINCE", "FROM", "IS")];
    let word = |row: &Value, key: &str| {
        let text = row[key].as_str().unwrap_or_default();
        text.chars().filter(|c| !c.is_control()).collect::<String>()
    };
    lines.extend(rows.iter().map(|row| {
        format!(
            "{:36}  {:20}  {:8}  {:8}  {}",
            word(row, "id"),
            word(row, "createdAt"),
            word(row, "source"),
            word(row, "kind"),
            row["attempts"]
        )
    }));
    lines.join("\n")
}

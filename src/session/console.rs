//! An operator's login, beside the tenants': the same transport, tokens of another audience.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::BoxFuture;

use super::farewell::Farewell;
use super::greeting::Greeted;
use super::login::{self, Refused};
use super::shared::Shared;
use crate::auth::Operator;
use crate::fault::{Blame, Fault, SqlState};

/// The database that is none: the console.
pub(super) const DATABASE: &str = "pgusher";

/// Proves an operator and hands the connection over.
pub(super) async fn prove(
    shared: &Arc<Shared>,
    mut greeted: Greeted,
) -> Result<BoxFuture<'static, ()>, Farewell> {
    let Some(console) = shared.console() else {
        let text = "the console is not open yet";
        let fault = Fault::new(Blame::Proxy, SqlState::CANNOT_CONNECT_NOW, text);
        return Err(Farewell::fatal(greeted.stream, fault));
    };
    match by_token(shared, &mut greeted).await {
        Ok(operator) => Ok(console.serve(greeted.stream, operator)),
        Err(refused) => Err(login::turned_away(shared, greeted.stream, refused).await),
    }
}

async fn by_token(shared: &Arc<Shared>, greeted: &mut Greeted) -> Result<Operator, Refused> {
    let token = login::ask_token(greeted).await?;
    let verifier = &shared.parts.verifier;
    let verified = verifier.verify_operator_refreshing(&token, SystemTime::now()).await;
    verified.map_err(|fault| Refused::of(fault, None))
}

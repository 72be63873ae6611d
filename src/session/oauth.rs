//! Login by OAUTHBEARER: the same tokens, in the SASL mechanism of PostgreSQL 18.

use std::sync::Arc;
use std::time::SystemTime;

use super::greeting::Greeted;
use super::login::{self, Refused};
use super::shared::Shared;
use crate::auth::{Audience, Identity, OAUTH_DUMMY, OAUTHBEARER, OauthRequest, oauth_failure};
use crate::fault::{Blame, Fault, SqlState};
use crate::wire::Writer;

/// The user who logs in this way whatever the settings say.
pub(super) const USER: &str = "oauth";

/// The longest first message: a token of 16 KiB and what stands around it.
const MESSAGE_BYTES_MAX: usize = (16 << 10) + 1024;

/// The longest answer to an error: one byte.
const DUMMY_BYTES_MAX: usize = 16;

/// A JWT, by OAUTHBEARER.
pub(super) async fn by_bearer(
    shared: &Arc<Shared>,
    greeted: &mut Greeted,
) -> Result<Identity, Refused> {
    login::check_way(&greeted.stream)?;
    let mut packet = Writer::new();
    packet.authentication_sasl(&[OAUTHBEARER]);
    login::send(&mut greeted.stream, &packet).await?;
    let body = login::read_password(&mut greeted.stream, MESSAGE_BYTES_MAX).await?;
    let initial = login::sasl_initial(&body).filter(|(mechanism, _)| *mechanism == OAUTHBEARER);
    let request = initial.and_then(|(_, data)| OauthRequest::read(data));
    let fault = match request.ok_or_else(malformed)? {
        OauthRequest::Token(token) => {
            let verifier = &shared.parts.verifier;
            let now = SystemTime::now();
            match verifier.verify_refreshing(token, now, Audience::Tenant).await {
                Ok(identity) => return Ok(identity),
                Err(fault) => fault,
            }
        }
        OauthRequest::Discovery => {
            let text = "authentication failed: no token was presented";
            Fault::new(Blame::Client, SqlState::INVALID_PASSWORD, text)
        }
    };
    // The client is told where tokens are to be had, has its say, and is turned away (RFC 7628,
    // 3.2.3).
    let settings = &shared.parts.settings;
    packet.clear();
    let told = oauth_failure(&settings.oauth_issuer, &settings.oauth_scope);
    packet.authentication_sasl_continue(&told);
    login::send(&mut greeted.stream, &packet).await?;
    let answer = login::read_password(&mut greeted.stream, DUMMY_BYTES_MAX).await?;
    if answer != OAUTH_DUMMY {
        return Err(malformed());
    }
    Err(Refused::of(fault, None))
}

fn malformed() -> Refused {
    let text = "malformed OAUTHBEARER message";
    Refused::Plainly(Fault::new(Blame::Client, SqlState::PROTOCOL_VIOLATION, text))
}

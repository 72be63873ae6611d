//! Rooms seen through what `control` needs of them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::DuplexStream;

use crate::auth::{Audience, Grant, Power, Signer, Verifier};
use crate::control::seams::{Caller, Claims, Gate, Mint, TenantDoor};
use crate::fault::{Blame, Fault, SqlState};
use crate::http::OperatorGate;
use crate::ident::{Role, TenantId};
use crate::session::Door;
use crate::units::Secret;

/// `auth`'s signer as a mint.
pub(super) struct SignerMint {
    pub(super) signer: Arc<Signer>,
    pub(super) access_lifetime: Duration,
}

impl Mint for SignerMint {
    fn access(&self, claims: &Claims) -> Result<Secret, Fault> {
        let grant = Grant {
            tenant: claims.tenant.clone(),
            role: claims.role,
            subject: claims.subject.clone(),
            scopes: Vec::new(),
            lifetime: None,
        };
        Ok(self.signer.access(&grant, SystemTime::now())?.token)
    }

    fn sidecar(&self, tenant: &TenantId) -> Result<Secret, Fault> {
        Ok(self.signer.sidecar(tenant, SystemTime::now())?.token)
    }

    fn access_ttl(&self) -> Duration {
        self.access_lifetime
    }

    fn jwks(&self) -> serde_json::Value {
        self.signer.jwks()
    }
}

/// `session`'s door as the sidecar's road to a tenant.
pub(super) struct SessionDoor(pub(super) Door);

impl TenantDoor for SessionDoor {
    fn open(&self) -> DuplexStream {
        self.0.open()
    }
}

/// `auth`'s verifier as the HTTP API's gate.
pub(super) struct VerifierGate(pub(super) Verifier);

impl Gate for VerifierGate {
    fn admit<'a>(&'a self, bearer: &'a str) -> BoxFuture<'a, Result<Caller, Fault>> {
        async move {
            let now = SystemTime::now();
            let proven = self.0.verify_refreshing(bearer.as_bytes(), now, Audience::Tenant).await?;
            let Some(expires_at) = proven.expires_at() else {
                let text = "an access token is needed";
                return Err(Fault::new(Blame::Client, SqlState::INVALID_AUTHORIZATION, text));
            };
            Ok(Caller {
                tenant: proven.tenant().clone(),
                role: if proven.role() == Role::Sidecar { Role::Readonly } else { proven.role() },
                subject: proven.subject().to_owned(),
                token_id: proven.token_id().as_str().to_owned(),
                expires_at,
                renewable: proven.is_renewable(),
            })
        }
        .boxed()
    }
}

/// `auth`'s verifier as the operators' gate.
pub(super) struct OperatorDoor(pub(super) Verifier);

impl OperatorGate for OperatorDoor {
    fn admit_operator(&self, bearer: &str) -> Result<Power, Fault> {
        let operator = self.0.verify_operator(bearer.as_bytes(), SystemTime::now())?;
        Ok(operator.power())
    }
}

//! The sample tenants: registered through the public API, as any tenant is.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_postgres::NoTls;

use crate::cli::client::bearer;
use crate::cli::{Client, ClientError};

/// The names of the first samples; further ones are numbered.
const NAMES: [(&str, &str); 2] = [("Harbor Church", "harbor"), ("Grace Chapel", "grace")];

/// How many are made at the same time.
const AT_ONCE: usize = 4;

/// What is remembered of a sample between two runs. Written before the registration, so that a
/// run that is killed halfway can log in the next time.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    name: String,
    email: String,
    password: String,
    api_key: Option<ApiKey>,
    /// The Idempotency-Key of its registration.
    attempt: String,
}

/// A long-lived key of a sample tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApiKey {
    /// The startup user, `key_<id>`.
    pub user: String,
    /// The password.
    pub secret: String,
}

/// A sample tenant, ready to be used.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// The tenant.
    pub tenant_id: String,
    /// Its admin's e-mail address.
    pub email: String,
    /// Its admin's password.
    pub password: String,
    /// A token of its PRIMARY admin.
    pub access_token: String,
    /// A key of its own.
    pub api_key: ApiKey,
    /// A complete connection string with the token.
    pub url: String,
    /// What it is called.
    #[serde(skip)]
    pub name: String,
}

/// Where the samples are made.
pub struct Samples<'a> {
    /// The public HTTP listener.
    pub api: Client,
    /// The PostgreSQL listener of pgusher.
    pub listen: SocketAddr,
    /// The `--data` directory.
    pub home: PathBuf,
    /// Mints the token that `dev` hands out: tenant, admin, e-mail.
    pub mint: &'a (dyn Fn(&str, &str) -> String + Send + Sync),
}

/// Why there are no samples.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The API refused.
    #[error(transparent)]
    Api(#[from] ClientError),
    /// The API answered something else than it promises.
    #[error("{path} answers without `{field}`")]
    Shape {
        /// What was asked for.
        path: &'static str,
        /// What is missing.
        field: &'static str,
    },
    /// The samples could not be remembered.
    #[error("{file}: {why}")]
    File {
        /// Where.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// The sample row could not be written through pgusher.
    #[error("the sample row of {tenant} could not be written: {why}")]
    Row {
        /// Whose.
        tenant: String,
        /// Why.
        why: String,
    },
}

impl Samples<'_> {
    /// The first `count` samples: logged in where they exist, registered where they do not.
    ///
    /// # Errors
    /// [`SampleError`]; what was done until then is kept.
    pub async fn ensure(&self, count: usize) -> Result<Vec<Sample>, SampleError> {
        let mut kept = self.read()?;
        while kept.len() < count {
            kept.push(new_sample(kept.len(), false).map_err(|why| self.file_error(why))?);
        }
        self.write(&kept)?;
        let mut samples = Vec::with_capacity(count);
        let first = kept.len().min(count);
        for start in (0..first).step_by(AT_ONCE) {
            let slots = kept.iter_mut().enumerate().take(first).skip(start).take(AT_ONCE);
            let made = join_all(slots.map(|(index, slot)| self.ready(index, slot))).await;
            self.write(&kept)?;
            let made = made.into_iter().collect::<Result<Vec<_>, _>>()?;
            try_join_all(made.iter().map(|sample| self.row(sample))).await?;
            samples.extend(made);
        }
        Ok(samples)
    }

    /// The sample of `slot`.
    async fn ready(&self, index: usize, slot: &mut Kept) -> Result<Sample, SampleError> {
        match self.one(slot).await {
            // What was registered then has been dropped since: another takes its place.
            Err(SampleError::Api(ClientError::Refused { status, .. }))
                if status.is_client_error() =>
            {
                *slot = new_sample(index, true).map_err(|why| self.file_error(why))?;
                self.one(slot).await
            }
            other => other,
        }
    }

    async fn one(&self, kept: &mut Kept) -> Result<Sample, SampleError> {
        let (path, answer) = self.admitted(kept).await?;
        let tenant_id = text(path, &answer, "tenantId")?;
        let api_key = match kept.api_key.clone() {
            Some(key) => key,
            None => self.new_key(&text(path, &answer, "accessToken")?).await?,
        };
        kept.api_key = Some(api_key.clone());
        let admin = answer.get("admin").unwrap_or(&Value::Null);
        let access_token = (self.mint)(&tenant_id, &text(path, admin, "id")?);
        let listen = self.listen;
        Ok(Sample {
            url: format!("postgresql://app:{access_token}@{listen}/tenant_{tenant_id}"),
            tenant_id,
            email: kept.email.clone(),
            password: kept.password.clone(),
            access_token,
            api_key,
            name: kept.name.clone(),
        })
    }

    /// Logs in, and registers when nobody of that name is known. In this order a second start
    /// costs no registration; a wrong guess costs one refusal.
    async fn admitted(&self, kept: &Kept) -> Result<(&'static str, Value), SampleError> {
        const LOGIN: &str = "/api/auth/login";
        const REGISTER: &str = "/api/auth/register";
        let login = json!({ "email": kept.email, "password": kept.password });
        match self.api.post(LOGIN, &[], &login).await {
            Ok(answer) => return Ok((LOGIN, answer)),
            Err(ClientError::Refused { status, .. }) if status.is_client_error() => {}
            Err(error) => return Err(error.into()),
        }
        let body = json!({
            "email": kept.email,
            "password": kept.password,
            "firstName": "Sam",
            "lastName": "Sample",
            "churchName": kept.name,
        });
        let headers = [("idempotency-key", kept.attempt.as_str())];
        Ok((REGISTER, self.api.post(REGISTER, &headers, &body).await?))
    }

    async fn new_key(&self, access_token: &str) -> Result<ApiKey, SampleError> {
        const KEYS: &str = "/api/tenant/keys";
        let (name, value) = bearer(access_token);
        let body = json!({ "role": "owner", "name": "pgusher dev" });
        let answer = self.api.post(KEYS, &[(name, &value)], &body).await?;
        Ok(ApiKey { user: text(KEYS, &answer, "user")?, secret: text(KEYS, &answer, "secret")? })
    }

    /// One row of its own in each tenant's database, written through pgusher.
    async fn row(&self, sample: &Sample) -> Result<(), SampleError> {
        let failed = |e: tokio_postgres::Error| SampleError::Row {
            tenant: sample.tenant_id.clone(),
            why: e.as_db_error().map_or_else(|| e.to_string(), ToString::to_string),
        };
        let (client, connection) =
            tokio_postgres::connect(&sample.url, NoTls).await.map_err(failed)?;
        let driver = tokio::spawn(connection);
        let table = "CREATE TABLE IF NOT EXISTS hello (id int PRIMARY KEY, said text NOT NULL)";
        let row = "INSERT INTO hello VALUES (1, $1) ON CONFLICT (id) DO NOTHING";
        client.batch_execute(table).await.map_err(failed)?;
        let said = format!("Hello from {}", sample.name);
        client.execute(row, &[&said]).await.map_err(failed)?;
        drop(client);
        drop(driver.await);
        Ok(())
    }

    fn file(&self) -> PathBuf {
        self.home.join("tenants.json")
    }

    fn file_error(&self, why: impl std::fmt::Display) -> SampleError {
        SampleError::File { file: self.file(), why: why.to_string() }
    }

    fn read(&self) -> Result<Vec<Kept>, SampleError> {
        match fs::read(self.file()) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| self.file_error(e)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(self.file_error(e)),
        }
    }

    /// Replaces the file in one step; it holds passwords, so only the caller may read it.
    fn write(&self, kept: &[Kept]) -> Result<(), SampleError> {
        let draft = self.home.join("tenants.json.new");
        let text = serde_json::to_vec_pretty(kept).map_err(|e| self.file_error(e))?;
        let mut open = OpenOptions::new();
        let file = open.create(true).truncate(true).write(true).mode(0o600).open(&draft);
        let mut file = file.map_err(|e| self.file_error(e))?;
        file.write_all(&text).map_err(|e| self.file_error(e))?;
        fs::rename(&draft, self.file()).map_err(|e| self.file_error(e))
    }
}

fn new_sample(index: usize, again: bool) -> Result<Kept, &'static str> {
    let (mut secret, mut attempt) = ([0_u8; 18], [0_u8; 18]);
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| "no random numbers")?;
    aws_lc_rs::rand::fill(&mut attempt).map_err(|_| "no random numbers")?;
    let (name, host) = match NAMES.get(index) {
        Some((name, host)) => ((*name).to_owned(), (*host).to_owned()),
        None => (format!("Sample Church {}", index + 1), format!("sample{}", index + 1)),
    };
    let (password, attempt) = (URL_SAFE_NO_PAD.encode(secret), URL_SAFE_NO_PAD.encode(attempt));
    // The first one's address may still be taken.
    let who = if again { format!("admin-{}", &attempt[..6]) } else { "admin".to_owned() };
    let email = format!("{who}@{host}.example");
    Ok(Kept { name, email, password, api_key: None, attempt })
}

fn text(path: &'static str, value: &Value, field: &'static str) -> Result<String, SampleError> {
    let found = value.get(field).and_then(Value::as_str).map(str::to_owned);
    found.ok_or(SampleError::Shape { path, field })
}

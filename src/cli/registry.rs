//! The registry as commands reach it: `--registry`, or the configuration's.

use std::fmt::Write as _;

use clap::Args;

use super::Failure;
use super::command::Common;
use crate::config::Config;
use crate::control::Refused;
use crate::fault::{Fault, told};
use crate::tenant::{DatabaseUrl, MasterKey, Registry};
use crate::units::Secret;

/// Where the registry is.
#[derive(Debug, Clone, Args)]
pub struct RegistryArguments {
    /// The registry, instead of `registry.url`. Others on this machine can read a command line: a
    /// password belongs into PGUSHER_REGISTRY__URL.
    #[arg(long, value_name = "URL")]
    pub registry: Option<String>,
}

impl RegistryArguments {
    /// The configuration, with the registry these arguments name.
    ///
    /// # Errors
    /// Problems of the configuration; usage, where no registry is named at all.
    pub(super) fn settle(&self, common: &Common) -> Result<Config, Failure> {
        let mut config = common.load()?;
        if let Some(url) = &self.registry {
            config.registry.url = url.as_str().into();
        }
        if config.registry.url.is_empty() {
            let text = "no registry: name it by --registry URL, by registry.url in the file of \
                        --config, or by PGUSHER_REGISTRY__URL";
            return Err(Failure::usage(text));
        }
        Ok(config)
    }

    /// The registry itself.
    ///
    /// # Errors
    /// As [`Self::settle`], and where its URL cannot be used.
    pub(super) fn open(&self, common: &Common) -> Result<Registry, Failure> {
        let config = self.settle(common)?;
        Registry::new(&config.registry, any_key(&config)?).map_err(Failure::usage)
    }

    /// Its URL, for those who need a connection of their own.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn url(&self, common: &Common) -> Result<(Config, DatabaseUrl), Failure> {
        let config = self.settle(common)?;
        let url = DatabaseUrl::parse(config.registry.url.expose())
            .map_err(|e| Failure::usage(format!("registry.url {e}")))?;
        Ok((config, url))
    }
}

/// The configured master key, else one of the moment: reading the registry derives nothing that
/// leaves the process.
pub(super) fn any_key(config: &Config) -> Result<MasterKey, Failure> {
    if !config.auth.master_key.is_empty() {
        return MasterKey::new(&config.auth.master_key)
            .map_err(|e| Failure::new(format!("auth.master_key: {e}")));
    }
    let secret = random_text().map_err(Failure::new)?;
    MasterKey::new(&secret).map_err(Failure::new)
}

/// 256 random bits as 43 characters.
pub(super) fn random_text() -> Result<Secret, &'static str> {
    use base64::Engine as _;
    let mut raw = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut raw).map_err(|_| "no random numbers")?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(raw).into())
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let mut text = told(&fault);
        for more in [fault.detail_text(), fault.hint_text()].into_iter().flatten() {
            _ = write!(text, "\n  {more}");
        }
        Self::new(text)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Failed(fault) => fault.into(),
            Refused::NotFound => Self::new("no such tenant"),
            Refused::Invalid(fields) => {
                let fields = fields.iter().map(|f| format!("{} {}", f.field, f.message));
                Self::usage(fields.collect::<Vec<_>>().join("\n"))
            }
            other => Self::new(other),
        }
    }
}

//! Inbound messages and phone numbers, put together.

use std::sync::Arc;

use super::{BuildProblems, Built};
use crate::config::Config;
use crate::control::login::Login;
use crate::control::phone::NumberProof;
use crate::control::sms::{Corner, Intake, Letters, SmsMetrics, Store};
use crate::control::telnyx::{Telnyx, TelnyxApi};
use crate::http::Texting;

/// The parts, over the door and the mint that logins use.
pub(super) fn texting(
    config: &Config,
    built: &Built,
    login: &Login,
) -> Result<Texting, BuildProblems> {
    let settings = &config.sms.telnyx;
    let telnyx =
        Telnyx::new(settings).map_err(|why| vec![format!("sms.telnyx.public_key: {why}")])?;
    let api = TelnyxApi::new(settings).map_err(|problem| vec![problem])?;
    let metrics =
        SmsMetrics::new(&built.metrics).map_err(|error| vec![format!("metrics: {error}")])?;
    let corner = Corner::new(Arc::clone(&built.directory), Arc::clone(&built.servers));
    let store = Store::new(Arc::clone(&login.door), Arc::clone(&login.mint), Arc::new(corner));
    let numbers = built.numbers.clone();
    let intake = Intake::new(&config.sms.intake, numbers.clone(), store.clone(), metrics.clone());
    Ok(Texting {
        numbers,
        intake,
        letters: Letters::new(store),
        metrics,
        telnyx,
        proof: api.map(|api| Arc::new(api) as Arc<dyn NumberProof>),
    })
}

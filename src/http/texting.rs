//! What the doors need to take messages and to hand out phone numbers.

use std::sync::Arc;

use crate::control::phone::{NumberProof, Numbers};
use crate::control::sms::{Intake, Letters, SmsMetrics};
use crate::control::telnyx::Telnyx;

/// The parts. Cheap to clone.
#[derive(Clone)]
pub struct Texting {
    /// Who has which number.
    pub numbers: Numbers,
    /// Takes what comes in.
    pub intake: Intake,
    /// What could not be stored.
    pub letters: Letters,
    /// Counts.
    pub metrics: SmsMetrics,
    /// Reads Telnyx's webhooks; `None` where no key is configured.
    pub telnyx: Option<Telnyx>,
    /// Says whose a number is; `None` where nobody can be asked.
    pub proof: Option<Arc<dyn NumberProof>>,
}

impl std::fmt::Debug for Texting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Texting")
    }
}

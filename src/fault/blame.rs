//! Who must act for a fault to go away.

/// Whose fault a [`super::Fault`] is: the metric label and the log level follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The client sent what it should not have.
    Client,
    /// The tenant is at a limit of its own, or is suspended.
    Tenant,
    /// The tenant's PostgreSQL failed.
    Server,
    /// pgusher failed.
    Proxy,
    /// The registry or another control-side service failed.
    Control,
}

impl Blame {
    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Tenant => "tenant",
            Self::Server => "server",
            Self::Proxy => "proxy",
            Self::Control => "control",
        }
    }

    /// Whether an operator of pgusher has to look at it.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Proxy | Self::Control)
    }
}

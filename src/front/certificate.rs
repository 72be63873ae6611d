//! Until when clients can verify us.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, Registry};

use crate::net::tls::ServerTls;

/// When the listener's certificate expires, as it is when scraped: it follows its files.
pub struct CertificateExpiry {
    tls: Arc<ServerTls>,
    gauge: Gauge,
}

impl CertificateExpiry {
    /// Registers it.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn register(registry: &Registry, tls: &Arc<ServerTls>) -> prometheus::Result<()> {
        let gauge = Gauge::new(
            "pgusher_front_certificate_expiry_time_seconds",
            "When the certificate of [tls], or of its chain the first, expires, since 1970.",
        )?;
        registry.register(Box::new(Self { tls: Arc::clone(tls), gauge }))
    }
}

impl Collector for CertificateExpiry {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(expires) = self.tls.snapshot().expires() else { return Vec::new() };
        self.gauge.set(expires.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        self.gauge.collect()
    }
}

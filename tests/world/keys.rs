//! The configuration keys the tests turn, in one place.

pub const TLS_CERT: &str = "tls.certificate";
pub const TLS_KEY: &str = "tls.key";
pub const SERVER_MAX: &str = "limits.server_max";
pub const CLIENT_MAX: &str = "limits.client_max";
pub const QUEUE_MAX: &str = "limits.queue_max";
pub const QUEUE_TIMEOUT: &str = "limits.queue_timeout";
pub const HALF_OPEN_MAX: &str = "listen.half_open_max";
pub const LOGIN_TIMEOUT: &str = "session.login_timeout";

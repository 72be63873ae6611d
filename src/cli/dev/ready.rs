//! What `pgusher dev` says when it is ready.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

use super::samples::Sample;
use super::socket;

/// Everything a program needs to use a running `pgusher dev`; one line of JSON.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// The PostgreSQL listener.
    pub listen: SocketAddr,
    /// The unix socket of the same, or why there is none.
    #[serde(skip)]
    pub socket: Result<PathBuf, String>,
    /// The public HTTP listener.
    pub http: SocketAddr,
    /// The ops listener.
    pub ops: SocketAddr,
    /// The PostgreSQL behind it.
    pub server: ReadyServer,
    /// A connection string to the registry.
    pub registry: String,
    /// A connection string to the admin console.
    pub admin_url: String,
    /// The sample tenants.
    pub tenants: Vec<Sample>,
}

/// The PostgreSQL behind a `pgusher dev`.
#[derive(Debug, Clone, Serialize)]
pub struct ReadyServer {
    /// Its address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its superuser, who needs no password here.
    pub superuser: String,
}

impl Ready {
    /// For people: one psql line for each tenant, ready to be pasted.
    pub fn text(&self) -> String {
        let mut text = String::from("pgusher is ready. Every line below can be pasted:\n");
        for tenant in &self.tenants {
            // A String takes whatever is written to it.
            _ = write!(
                text,
                "\n  # {name}, tenant {id}\n  psql '{url}' -c 'select current_database(), said from hello'\n",
                name = tenant.name,
                id = tenant.tenant_id,
                url = tenant.url,
            );
        }
        let _ = write!(
            text,
            "\n  socket    {socket}\n  HTTP API  http://{http}\n  sign up   http://{http}/signup\n  \
             metrics   http://{ops}/metrics\n  console   psql '{console}'\n\
             \nCtrl-C stops it; the data stays for the next start.",
            socket = socket::told(&self.socket),
            http = self.http,
            ops = self.ops,
            console = self.admin_url
        );
        text
    }
}

//! `[session]`: what a client may ask for, and how long it may take.

use serde::{Deserialize, Serialize};

use crate::tenant::PoolMode;
use crate::units::{Size, Span};

/// What happens to a live session when its token expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenExpiry {
    /// It goes on: the token was needed to come in.
    #[default]
    Keep,
    /// It ends when it is next idle outside a transaction.
    Idle,
    /// It ends at once.
    Cut,
}

/// Which databases a client may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseNames {
    /// Any: the token selects the database.
    #[default]
    Any,
    /// The tenant's own; any other does not exist, as PostgreSQL would say.
    Own,
}

/// How a client is asked for its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenMethod {
    /// As its password.
    #[default]
    Password,
    /// By SASL OAUTHBEARER.
    Oauthbearer,
}

/// `[session]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionSettings {
    /// `transaction` or `session`, for tenants and connections that do not say.
    pub pool_mode: PoolMode,
    /// `any` or `own`: whether a client may name a database that is not its tenant's. It gets its
    /// tenant's.
    pub database_names: DatabaseNames,
    /// The longest a client may take from its first byte to its token.
    pub login_timeout: Span,
    /// How clients are asked for their token: `password`, or `oauthbearer` (PostgreSQL 18 and
    /// later). The user `oauth` is asked by OAUTHBEARER either way, API keys by SCRAM.
    pub token_method: TokenMethod,
    /// Where a client that comes by OAUTHBEARER without a token is sent for one: the issuer's URL.
    pub oauth_issuer: String,
    /// The scope it is told to ask for.
    pub oauth_scope: String,
    /// What becomes of a live session when its token expires: `keep`, `idle` or `cut`.
    pub token_expiry: TokenExpiry,
    /// In transaction mode, whether a BEGIN by itself (a simple query, without comments) takes no
    /// server before the first statement behind it. `now()` is then the time of that.
    pub deferred_begin: bool,
    /// Settings a client may put in its startup packet, besides dotted ones. Any case.
    pub startup_settings: Vec<String>,
    /// Startup parameters dropped without a word: what ORMs leave in URLs.
    pub startup_ignored: Vec<String>,
    /// How many named prepared statements one client may have.
    pub prepared_statements_max: usize,
    /// How much text they may have together.
    pub prepared_bytes_max: Size,
}

impl Default for SessionSettings {
    fn default() -> Self {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Self {
            pool_mode: PoolMode::Transaction,
            database_names: DatabaseNames::Any,
            login_timeout: Span::secs(15),
            token_method: TokenMethod::Password,
            oauth_issuer: String::new(),
            oauth_scope: String::new(),
            token_expiry: TokenExpiry::Keep,
            deferred_begin: false,
            startup_settings: words(
                "application_name backslash_quote bytea_output client_connection_check_interval \
                 client_encoding client_min_messages compute_query_id datestyle \
                 default_statistics_target default_text_search_config default_toast_compression \
                 default_transaction_deferrable default_transaction_isolation \
                 default_transaction_read_only enable_bitmapscan enable_hashagg enable_hashjoin \
                 enable_indexonlyscan enable_indexscan enable_mergejoin enable_nestloop \
                 enable_seqscan enable_sort extra_float_digits from_collapse_limit geqo \
                 idle_in_transaction_session_timeout idle_session_timeout intervalstyle jit \
                 join_collapse_limit lc_messages lc_monetary lc_numeric lc_time lock_timeout \
                 log_min_messages log_statement maintenance_work_mem max_parallel_workers_per_gather \
                 plan_cache_mode quote_all_identifiers random_page_cost row_security search_path \
                 seq_page_cost standard_conforming_strings statement_timeout \
                 synchronous_commit temp_buffers timezone transaction_timeout work_mem xmloption",
            ),
            startup_ignored: words(
                "connection_limit pool_timeout pgbouncer schema sslmode sslcert sslidentity \
                 sslpassword sslaccept connect_timeout socket_timeout statement_cache_size \
                 prefer_simple_protocol target_session_attrs binary_parameters",
            ),
            prepared_statements_max: 10_000,
            prepared_bytes_max: Size::kib(16 << 10),
        }
    }
}

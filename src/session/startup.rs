//! What a startup message asks for: user, database, settings.

use super::settings::SessionSettings;
use crate::fault::{Blame, Fault, SqlState};
use crate::server::Settings;
use crate::tenant::PoolMode;
use crate::wire::StartupMessage;

/// A startup message understood.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    /// The startup user; selects nothing when a JWT is presented.
    pub(super) user: String,
    /// The database, which defaults to the user as in PostgreSQL.
    pub(super) database: String,
    /// The settings to start with.
    pub(super) settings: Settings,
    /// `pgusher.pool_mode`, if the client says.
    pub(super) pool_mode: Option<PoolMode>,
    /// `pgusher.notices=pins`: the client wants to hear when it is pinned.
    pub(super) hears_pins: bool,
}

/// Never set from a startup packet: they would change who the session is.
const NEVER: [&str; 4] = ["role", "session_authorization", "is_superuser", "replication"];

/// pgusher's own setting: the pool mode of one connection.
const POOL_MODE: &str = "pgusher.pool_mode";

/// pgusher's own setting: what the client is told of that PostgreSQL would not.
const NOTICES: &str = "pgusher.notices";

impl Wish {
    /// Reads the parameters against the allow-list.
    ///
    /// # Errors
    /// A fault that names the parameter and says what to do.
    pub(super) fn read(message: &StartupMessage, rules: &SessionSettings) -> Result<Self, Fault> {
        let user = message.parameter("user").unwrap_or_default().to_owned();
        if user.is_empty() {
            let text = "no PostgreSQL user name specified in startup packet";
            return Err(Fault::new(Blame::Client, SqlState::INVALID_AUTHORIZATION, text));
        }
        let database = message.parameter("database").filter(|d| !d.is_empty());
        let database = database.unwrap_or(&user).to_owned();
        let mut wish = Self {
            user,
            database,
            settings: Settings::default(),
            pool_mode: None,
            hears_pins: false,
        };
        let mut pairs = Vec::new();
        // As in PostgreSQL, what `options` says gives way to the parameters proper.
        let given = message.parameters.iter().filter(|(name, _)| name == "options");
        for (_, text) in given {
            for (name, value) in options(text)? {
                wish.take(&name, value, rules, &mut pairs)?;
            }
        }
        for (name, value) in &message.parameters {
            if !matches!(name.as_str(), "user" | "database" | "options" | "replication") {
                wish.take(name, value.clone(), rules, &mut pairs)?;
            } else if name == "replication"
                && !matches!(value.as_str(), "false" | "off" | "no" | "0")
            {
                return Err(refused(name));
            }
        }
        wish.settings = Settings::from_pairs(pairs);
        Ok(wish)
    }

    fn take(
        &mut self,
        name: &str,
        value: String,
        rules: &SessionSettings,
        pairs: &mut Vec<(String, String)>,
    ) -> Result<(), Fault> {
        let folded = name.to_ascii_lowercase();
        if folded == POOL_MODE {
            let mode = PoolMode::parse(&value).ok_or_else(|| {
                let text = format!("invalid value for parameter \"{POOL_MODE}\": \"{value}\"");
                Fault::new(Blame::Client, SqlState::INVALID_PARAMETER_VALUE, text)
                    .hint("Available values: transaction, session.")
            })?;
            self.pool_mode = Some(mode);
            return Ok(());
        }
        if folded == NOTICES {
            self.hears_pins = match &*value {
                "pins" => true,
                "none" => false,
                _ => {
                    let text = format!("invalid value for parameter \"{NOTICES}\": \"{value}\"");
                    let state = SqlState::INVALID_PARAMETER_VALUE;
                    let fault = Fault::new(Blame::Client, state, text);
                    return Err(fault.hint("Available values: none, pins."));
                }
            };
            return Ok(());
        }
        if rules.startup_ignored.iter().any(|n| n.eq_ignore_ascii_case(&folded)) {
            return Ok(());
        }
        let custom = folded.contains('.') && !folded.starts_with("pgusher.");
        let listed = rules.startup_settings.iter().any(|n| n.eq_ignore_ascii_case(&folded));
        if NEVER.contains(&folded.as_str()) || !(custom || listed) {
            return Err(refused(name));
        }
        pairs.push((folded, value));
        Ok(())
    }
}

fn refused(name: &str) -> Fault {
    // The name is the client's own; cut, so that the answer stays small.
    let shown: String = name.chars().take(63).collect();
    let text = format!("parameter \"{shown}\" cannot be set in the startup packet");
    let identity = NEVER.iter().any(|never| never.eq_ignore_ascii_case(name));
    let state =
        if identity { SqlState::INVALID_AUTHORIZATION } else { SqlState::INVALID_PARAMETER_VALUE };
    Fault::new(Blame::Client, state, text)
        .hint("Use SET after connecting, or have the operator add it to session.startup_settings.")
}

/// Reads `options` as PostgreSQL does: words split at unescaped blanks, `-c name=value`,
/// `-cname=value` and `--name=value`, with `-` for `_` in the latter's names.
fn options(text: &str) -> Result<Vec<(String, String)>, Fault> {
    let (mut found, mut words) = (Vec::new(), split(text).into_iter());
    while let Some(word) = words.next() {
        let setting = if word == "-c" {
            words.next()
        } else if let Some(long) = word.strip_prefix("--") {
            Some(long.to_owned())
        } else {
            word.strip_prefix("-c").map(str::to_owned)
        };
        let pair = setting.as_deref().and_then(|s| s.split_once('='));
        let Some((name, value)) = pair else {
            let text = "invalid command-line argument in startup packet's \"options\"";
            return Err(Fault::new(Blame::Client, SqlState::INVALID_AUTHORIZATION, text)
                .hint("Only -c name=value and --name=value are understood."));
        };
        found.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(found)
}

fn split(text: &str) -> Vec<String> {
    let (mut words, mut word, mut escaped) = (Vec::new(), String::new(), false);
    for letter in text.chars() {
        match letter {
            _ if escaped => {
                word.push(letter);
                escaped = false;
            }
            '\\' => escaped = true,
            blank if blank.is_ascii_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            other => word.push(other),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ProtocolVersion;

    fn read(pairs: &[(&str, &str)]) -> Result<Wish, Fault> {
        let parameters = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let version = ProtocolVersion::V3_0;
        let message = StartupMessage { version, parameters, protocol_options: Vec::new() };
        Wish::read(&message, &SessionSettings::default())
    }

    #[test]
    fn settings_come_from_parameters_and_options() {
        let wish = read(&[
            ("user", "u"),
            ("TimeZone", "UTC"),
            (
                "options",
                "-c search_path=a\\ b,c --work-mem=4MB -cmy.x=1 -c pgusher.pool_mode=session",
            ),
            ("connection_limit", "5"),
        ])
        .expect("fine");
        assert_eq!(wish.database, "u");
        assert_eq!(wish.pool_mode, Some(PoolMode::Session));
        let pairs: Vec<_> = wish.settings.iter().collect();
        let wanted =
            [("my.x", "1"), ("search_path", "a b,c"), ("timezone", "UTC"), ("work_mem", "4MB")];
        assert_eq!(pairs, wanted);
    }

    #[test]
    fn parameters_win_over_options() {
        let wish = read(&[("user", "u"), ("datestyle", "ISO"), ("options", "-c datestyle=SQL")]);
        let wish = wish.expect("fine");
        assert_eq!(wish.settings.iter().collect::<Vec<_>>(), [("datestyle", "ISO")]);
    }

    #[test]
    fn what_changes_the_session_s_identity_is_refused() {
        for (name, value) in [
            ("role", "postgres"),
            ("ROLE", "postgres"),
            ("session_authorization", "postgres"),
            ("options", "-c role=postgres"),
            ("options", "--session-authorization=postgres"),
            ("options", "-B 5"),
            ("replication", "database"),
            ("session_preload_libraries", "x"),
            ("pgusher.other", "x"),
            ("pgusher.pool_mode", "statement"),
            ("pgusher.notices", "everything"),
        ] {
            assert!(read(&[("user", "u"), (name, value)]).is_err(), "{name}={value}");
        }
        let hears = read(&[("user", "u"), ("options", "-c pgusher.notices=pins")]).expect("fine");
        assert!(hears.hears_pins && hears.settings.is_empty());
        assert!(read(&[("database", "d")]).is_err());
        assert!(read(&[("user", "u"), ("replication", "off")]).is_ok());
    }
}

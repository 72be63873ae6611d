//! What is asked for, checked field by field.

use crate::control::email;
use crate::control::refused::{FieldProblem, Refused};
use crate::tenant::MasterKey;
use crate::units::Secret;

/// A registration as it arrives.
#[derive(Debug, Clone)]
pub struct NewOrganisation {
    /// The admin's e-mail.
    pub email: String,
    /// The admin's password.
    pub password: Secret,
    /// The admin's first name.
    pub first_name: String,
    /// The admin's last name.
    pub last_name: String,
    /// The organisation's name.
    pub church_name: String,
    /// The region its database is to be in; any, if it does not say.
    pub region: Option<String>,
}

const PASSWORD_CHARS_MIN: usize = 8;
const PASSWORD_BYTES_MAX: usize = 1024;
const NAME_CHARS_MAX: usize = 100;
const CHURCH_CHARS_MAX: usize = 200;

impl NewOrganisation {
    /// The same, trimmed and normalised.
    ///
    /// # Errors
    /// [`Refused::Invalid`] names every field that cannot be used.
    pub(super) fn checked(self) -> Result<Self, Refused> {
        let mut problems = Vec::new();
        let mut problem =
            |field, message: &'static str| problems.push(FieldProblem::new(field, message));
        let email = email::normalised(&self.email).unwrap_or_else(|| {
            problem("email", "must be an e-mail address");
            String::new()
        });
        let password = self.password.expose();
        if password.chars().count() < PASSWORD_CHARS_MIN {
            problem("password", "must have at least 8 characters");
        } else if password.len() > PASSWORD_BYTES_MAX {
            problem("password", "must have at most 1024 bytes");
        }
        let first_name = named(&self.first_name, NAME_CHARS_MAX).unwrap_or_else(|| {
            problem("firstName", "must have 1 to 100 characters, none of them a control character");
            String::new()
        });
        let last_name = named(&self.last_name, NAME_CHARS_MAX).unwrap_or_else(|| {
            problem("lastName", "must have 1 to 100 characters, none of them a control character");
            String::new()
        });
        let church_name = named(&self.church_name, CHURCH_CHARS_MAX).unwrap_or_else(|| {
            problem(
                "churchName",
                "must have 1 to 200 characters, none of them a control character",
            );
            String::new()
        });
        if !problems.is_empty() {
            return Err(Refused::Invalid(problems));
        }
        let region = self.region.map(|region| region.trim().to_owned()).filter(|r| !r.is_empty());
        Ok(Self { email, password: self.password, first_name, last_name, church_name, region })
    }

    /// A keyed digest of everything, password included: who repeats a key must repeat the body.
    pub(super) fn digest(&self, key: &MasterKey) -> [u8; 32] {
        let region = self.region.as_deref().unwrap_or_default();
        let mut parts = vec![
            self.email.as_bytes(),
            self.password.expose().as_bytes(),
            self.first_name.as_bytes(),
            self.last_name.as_bytes(),
            self.church_name.as_bytes(),
        ];
        // Without a region the digest is what it was before there were any.
        if !region.is_empty() {
            parts.push(region.as_bytes());
        }
        key.derive("registration body", &parts)
    }
}

fn named(text: &str, chars_max: usize) -> Option<String> {
    let fits = text.chars().count() <= chars_max && !text.chars().any(char::is_control);
    Some(text.trim()).filter(|text| fits && !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> NewOrganisation {
        NewOrganisation {
            email: " Ada@Example.org".into(),
            password: "long enough".into(),
            first_name: " Ada\u{a0}".into(),
            last_name: "Lovelace".into(),
            church_name: "St. Example".into(),
            region: None,
        }
    }

    #[test]
    fn good_fields_are_trimmed() {
        let checked = request().checked().expect("good");
        assert_eq!(
            (checked.email.as_str(), checked.first_name.as_str()),
            ("ada@example.org", "Ada")
        );
    }

    #[test]
    fn every_bad_field_is_named_at_once() {
        let bad = NewOrganisation {
            email: "no".into(),
            password: "short".into(),
            first_name: " \u{3000}".into(),
            last_name: "Lovelace\u{b}".into(),
            church_name: "x".repeat(201),
            region: None,
        };
        let Err(Refused::Invalid(problems)) = bad.checked() else { panic!("accepted") };
        let fields: Vec<_> = problems.iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["email", "password", "firstName", "lastName", "churchName"]);
    }

    #[test]
    fn the_digest_knows_the_password() {
        let key = MasterKey::new(&"k".repeat(32).as_str().into()).expect("key");
        let other = NewOrganisation { password: "another one".into(), ..request() };
        assert_ne!(request().digest(&key), other.digest(&key));
        assert_eq!(request().digest(&key), request().digest(&key));
    }
}

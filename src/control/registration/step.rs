//! The steps of a registration, in the words its owner is told.

/// How far a registration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The e-mail is reserved, and a database chosen or about to be made.
    Claimed,
    /// The database is there. A warm one was from the beginning.
    Cloned,
    /// The admin is written into it.
    Written,
    /// The tenant is one.
    Done,
}

/// Why it ended without a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Somebody registered with this e-mail meanwhile.
    EmailTaken,
    /// A part of the system failed.
    Broken,
}

/// A registration at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The last step that was done.
    pub reached: Step,
    /// Whether its database was made ahead of time.
    pub was_warm: bool,
    /// Why it is over, if it failed.
    pub failure: Option<Failure>,
}

/// One step as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Told {
    /// Where it stands among all steps there are, from 1.
    #[serde(skip)]
    pub ordinal: u8,
    /// Its name.
    pub step: &'static str,
    /// How much of the registration is done with it.
    pub percent: u8,
    /// The same for a person.
    pub message: &'static str,
}

const CLAIMED_WARM: Told = Told {
    ordinal: 1,
    step: "claimed",
    percent: 50,
    message: "A database that was made ahead of time is yours.",
};
const CLAIMED_COLD: Told = Told {
    ordinal: 1,
    step: "claimed",
    percent: 10,
    message: "No database was ready ahead of time: yours is being made now, which takes a moment.",
};
const CLONED: Told = Told {
    ordinal: 2,
    step: "cloned",
    percent: 60,
    message: "Your database is made, and closed to everyone else.",
};
const WRITTEN: Told =
    Told { ordinal: 3, step: "written", percent: 85, message: "Your account is written into it." };
const DONE: Told =
    Told { ordinal: 4, step: "done", percent: 100, message: "Your workspace is ready." };
const EMAIL_TAKEN: Told = Told {
    ordinal: 5,
    step: "failed",
    percent: 100,
    message: "Somebody registered with this e-mail meanwhile. Nothing of this registration is kept.",
};
const BROKEN: Told = Told {
    ordinal: 5,
    step: "failed",
    percent: 100,
    message: "It could not be completed, and nothing of it is kept. Please try again.",
};

impl Failure {
    /// The registry's word for it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::EmailTaken => "email-taken",
            Self::Broken => "broken",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        if text == Self::EmailTaken.as_str() { Self::EmailTaken } else { Self::Broken }
    }
}

impl Progress {
    /// As a job row has it.
    pub(super) fn of_row(step: &str, was_warm: bool, failure: Option<&str>) -> Self {
        let failure = failure.map(Failure::parse);
        let reached = match step {
            // A warm database is there when it is claimed: that is no step of its own.
            "cloned" if !was_warm => Step::Cloned,
            "written" => Step::Written,
            "done" => Step::Done,
            _ => Step::Claimed,
        };
        let failure = if step == "undone" { failure.or(Some(Failure::Broken)) } else { failure };
        Self { reached, was_warm, failure: failure.filter(|_| step != "done") }
    }

    /// Whether nothing more will happen.
    pub fn is_over(&self) -> bool {
        self.failure.is_some() || self.reached == Step::Done
    }

    /// Every step so far, in order.
    pub fn told(&self) -> Vec<Told> {
        let claimed = if self.was_warm { CLAIMED_WARM } else { CLAIMED_COLD };
        let mut told = vec![claimed];
        if !self.was_warm && self.reached >= Step::Cloned {
            told.push(CLONED);
        }
        if self.reached >= Step::Written {
            told.push(WRITTEN);
        }
        if self.reached >= Step::Done {
            told.push(DONE);
        }
        told.extend(self.failure.map(|failure| match failure {
            Failure::EmailTaken => EMAIL_TAKEN,
            Failure::Broken => BROKEN,
        }));
        told
    }

    /// The last of them.
    pub fn now(&self) -> Told {
        self.told().last().copied().unwrap_or(CLAIMED_COLD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(progress: Progress) -> Vec<&'static str> {
        progress.told().iter().map(|told| told.step).collect()
    }

    #[test]
    fn a_warm_registration_has_no_clone_among_its_steps() {
        let at = |step, warm, failure| Progress::of_row(step, warm, failure);
        assert_eq!(names(at("cloned", true, None)), ["claimed"]);
        assert_eq!(names(at("done", true, None)), ["claimed", "written", "done"]);
        assert_eq!(names(at("claimed", false, None)), ["claimed"]);
        assert_eq!(names(at("cloned", false, None)), ["claimed", "cloned"]);
        assert_eq!(names(at("done", false, None)), ["claimed", "cloned", "written", "done"]);
        assert_eq!(names(at("undone", true, None)), ["claimed", "failed"]);
        assert_eq!(names(at("cloned", false, Some("broken"))), ["claimed", "cloned", "failed"]);
    }

    #[test]
    fn percentages_grow_and_end_at_a_hundred() {
        for warm in [true, false] {
            let told = Progress::of_row("done", warm, None).told();
            assert!(told.windows(2).all(|pair| pair[0].percent < pair[1].percent));
            assert!(told.windows(2).all(|pair| pair[0].ordinal < pair[1].ordinal));
            assert_eq!(told.last().map(|last| last.percent), Some(100));
        }
        assert!(Progress::of_row("undone", false, Some("email-taken")).is_over());
        assert!(!Progress::of_row("written", false, None).is_over());
    }
}

//! What the primary of a database says in its Lease, pure.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::{
    kinds::Kind,
    plan::{POSTGRES, Plan},
    problem::Problem,
    step::Observed,
};

/// Annotation of the Lease.
pub const ANNOTATION: &str = "platform.trading/postgres";
/// Most characters that are passed on of a text: whoever takes a server over can write anything.
const LONGEST: usize = 300;

/// What matters of it to the operator. Everything else there is between the servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Told {
    /// Why the servers don't use the newest parameters.
    #[serde(default)]
    pub refused: Option<String>,
    /// Generations of logins that every server accepts.
    #[serde(default)]
    pub logins: BTreeSet<u32>,
    /// Whether the pooler can log in; `None` where nothing is said of it.
    #[serde(default)]
    pub pooler: Option<bool>,
}

impl Told {
    /// From the annotation; `None` where it is not understood.
    #[must_use]
    pub fn parse(annotation: &str) -> Option<Self> {
        let told: Self = serde_json::from_str(annotation).ok()?;
        let short = |text: String| text.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        Some(Self { refused: told.refused.map(short), ..told })
    }
}

/// What the primary of this platform's database says.
#[must_use]
pub fn of<'a>(plan: &Plan, observed: &'a Observed) -> Option<&'a Told> {
    let lease = observed.get(&plan.identity.key(Kind::Lease, POSTGRES))?;
    lease.told.as_ref().filter(|_| lease.is_of(&plan.identity))
}

/// That its servers go on with what they had.
pub(crate) fn problem(plan: &Plan, observed: &Observed) -> Option<Problem> {
    plan.postgres.as_ref()?.servers.as_ref()?;
    let reason = of(plan, observed)?.refused.as_ref()?;
    let message = format!(
        "Postgres refuses postgres.parameters, and goes on with those that it had: {reason}: mend them, none of the change is in force"
    );
    Some(Problem::of(POSTGRES, "ParametersRefused", message).as_warning())
}

#[cfg(test)]
mod tests {
    use super::Told;

    #[test]
    fn what_is_between_the_servers_changes_nothing() {
        let told = |lsn: &str| Told::parse(&format!(r#"{{"system":7,"term":1,"position":"{lsn}"}}"#));
        assert_eq!(told("1"), Some(Told::default()));
        assert_eq!(told("1"), told("2"));
        assert_eq!(Told::parse("{"), None);
        let long = format!(r#"{{"refused":"a\nb{}"}}"#, "x".repeat(1000));
        let refused = Told::parse(&long).and_then(|told| told.refused).unwrap_or_default();
        assert!(refused.starts_with("abx") && refused.len() == 300, "{refused}");
    }
}

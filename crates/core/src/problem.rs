//! Something that keeps a platform, or a part of it, from being what the resource asks for.

/// A problem with its remedy, worded for a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Stable, `PascalCase`; the condition's reason.
    pub reason: &'static str,
    /// Component or store that it concerns; `None` for the whole platform.
    pub component: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
    /// The platform serves all the same.
    pub warning: bool,
}

impl Problem {
    /// A problem of one component or store.
    #[must_use]
    pub fn of(component: &str, reason: &'static str, message: String) -> Self {
        Self { reason, component: Some(component.to_owned()), message, warning: false }
    }

    /// A problem of the whole platform.
    #[must_use]
    pub fn whole(reason: &'static str, message: String) -> Self {
        Self { reason, component: None, message, warning: false }
    }

    /// The same, but the platform serves all the same.
    #[must_use]
    pub fn as_warning(self) -> Self {
        Self { warning: true, ..self }
    }
}

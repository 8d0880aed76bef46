//! Why an expression does not compile.

/// Why an expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Syntax(String),
    #[error("nothing here is called {name:?}{}", did_you_mean(.near))]
    Unknown { name: String, near: Option<&'static str> },
    #[error("{name}() takes {wants} values, not {got}")]
    Arguments { name: String, wants: String, got: usize },
    #[error("there is no kind {0:?} here")]
    Kind(String),
    #[error("no {of} has the {field} {word:?}{}; there are {known}", did_you_mean(.near))]
    Word {
        /// Which records are asked: those of `trace`, or versions of `history`.
        of: &'static str,
        field: &'static str,
        word: String,
        near: Option<&'static str>,
        /// All words that the field may have.
        known: String,
    },
    #[error("{name:?} cannot be defined: {why}")]
    Define { name: String, why: &'static str },
    #[error("{0:?} is for hints only: a check looks at the cluster, never at what was typed")]
    HintsOnly(&'static str),
}

impl Error {
    /// What the parser says of the first place that it cannot read. It says more: the whole
    /// expression again below each of its errors, and errors that follow from the first.
    pub(super) fn of_parser(errors: &impl std::fmt::Display) -> Error {
        Error::Syntax(errors.to_string().lines().next().unwrap_or_default().into())
    }
}

fn did_you_mean(near: &Option<&'static str>) -> String {
    near.map(|n| format!("; did you mean {n:?}?")).unwrap_or_default()
}

//! The error of all controllers.

/// Why one look at an object did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Pki(#[from] pki::Error),
    /// Another writer was first: the next look decides on what is there now.
    #[error("changed meanwhile: {0}")]
    Conflict(String),
    #[error("an object cannot be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
    /// Something else has to come or go first: the next look may find it so.
    #[error("{0}")]
    NotYet(String),
    /// No API serves the kind that a reference names: what it means may be there all the same.
    #[error("{0}")]
    Unserved(String),
    /// The object's spec cannot be followed, and another try would not mend that: it is told on the
    /// object, which comes back when it changes.
    #[error("{0}")]
    Spec(String),
}

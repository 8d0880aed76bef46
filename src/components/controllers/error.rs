//! The error of all controllers, and what answers of the API server say.

/// The reason why one look at an object did not do its work.
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
    /// No API serves the kind that a reference names. The object that it means may be stored all
    /// the same.
    #[error("{0}")]
    Unserved(String),
    /// The object's spec cannot be followed, and another try would not mend that. An Event or a
    /// condition of the object says so, and a change of the object brings the next look.
    #[error("{0}")]
    Spec(String),
}

impl Error {
    /// Returns the text of an error for Events and conditions, see [`message_of`].
    pub(crate) fn message(&self) -> String {
        match self {
            Error::Api(error) => message_of(error),
            other => other.to_string(),
        }
    }
}

/// Returns the text of an error for Events and conditions: of an answer of the API server its
/// message alone, since people search for that.
///
/// ```text
/// the answer 403, Forbidden, "exceeded quota"    exceeded quota
/// no answer                                      the text of the client's error
/// ```
pub(crate) fn message_of(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Returns whether the request was refused because its namespace is being deleted.
pub(crate) fn is_namespace_ending(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            let causes = status.details.iter().flat_map(|d| &d.causes);
            causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_an_answer_the_message_alone_is_shown() {
        let status =
            json!({"status": "Failure", "code": 403, "reason": "Forbidden", "message": "exceeded quota"});
        let refused = kube::Error::Api(serde_json::from_value(status).unwrap());
        assert_eq!(message_of(&refused), "exceeded quota");
        assert_eq!(Error::Api(refused).message(), "exceeded quota");
        assert_eq!(Error::Conflict("a pod is newer".into()).message(), "changed meanwhile: a pod is newer");
    }
}

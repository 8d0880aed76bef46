//! An answer on the control socket.

use crate::error::{Error, chain};
use crate::refusal::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An answer: `ok` with something, or an error for people.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// The answer; its shape depends on the question.
    Ok(Value),
    /// A sentence in English, with its causes.
    Error(String),
    /// A refusal that has its sentence in every language.
    Refusal(Refusal),
}

impl From<Error> for Reply {
    fn from(error: Error) -> Reply {
        match error {
            Error::Refusal(refusal) => Reply::Refusal(refusal),
            error => Reply::Error(chain(&error)),
        }
    }
}

impl Reply {
    /// Returns the answer.
    ///
    /// # Errors
    /// The error or the refusal that the cluster answered with.
    pub(crate) fn into_result(self) -> Result<Value, Error> {
        match self {
            Reply::Ok(value) => Ok(value),
            Reply::Error(text) => Err(Error::Message(text)),
            Reply::Refusal(refusal) => Err(Error::Refusal(refusal)),
        }
    }
}

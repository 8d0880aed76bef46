//! What is asked of `why`, and what it answers.

use super::line::Typed;
use serde::{Deserialize, Serialize};

/// What is asked: `why`, `why pod/web`, `why web`, `why localhost:31234`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question {
    /// The language of the answer.
    pub lang: lang::Lang,
    /// Empty: the last command, or what it left behind.
    pub about: Vec<String>,
    /// Where names without a namespace are.
    pub namespace: String,
    /// The last line of the learner's shell, if the shell has passed it on.
    #[serde(default)]
    pub after: Option<Typed>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// What it is about: `pod/web`.
    pub about: String,
    /// What is so, the cause first.
    pub lines: Vec<String>,
    /// What may be done about it: commands.
    pub tips: Vec<String>,
    /// Whether something is wrong.
    pub problem: bool,
}

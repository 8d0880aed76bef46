//! What is being done with a lab at the moment.

use crate::graded::view::Work;

/// What is being done with a lab.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Doing {
    #[default]
    Nothing,
    Starting {
        lab: String,
        seed: u64,
    },
    Grading,
    Leaving,
}

impl Doing {
    /// What a view says of it.
    pub(super) fn work(&self) -> Work {
        match self {
            Doing::Nothing => Work::Idle,
            Doing::Starting { .. } => Work::Starting,
            Doing::Grading => Work::Grading,
            Doing::Leaving => Work::Leaving,
        }
    }
}

//! A question with what its asker has agreed to.

use crate::view::Ask;
use cluster::undo::Loss;

/// A question, and what its asker knows of its cost.
pub(super) struct Meant {
    pub ask: Ask,
    pub consent: Consent,
}

/// What a learner has agreed to lose.
pub(super) enum Consent {
    /// Nothing was said: it may cost nothing.
    Unasked,
    /// It may cost this.
    Of(Vec<Loss>),
    /// It may cost anything.
    Whatever,
}

impl Meant {
    /// A question as it was put.
    pub(super) fn new(ask: Ask) -> Meant {
        match ask {
            Ask::Sure { ask, agreed: Some(agreed) } => Meant { ask: *ask, consent: Consent::Of(agreed) },
            Ask::Sure { ask, agreed: None } => Meant { ask: *ask, consent: Consent::Whatever },
            ask => Meant { ask, consent: Consent::Unasked },
        }
    }
}

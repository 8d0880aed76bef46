//! What a learner has agreed to is done, or nothing: before a question that costs something is
//! answered, its cost is found out anew, and compared with what the learner has seen.

use super::Actor;
use super::cost::{Cost, name_first};
use crate::view::Ask;
use crate::words::{self, Word};
use cluster::undo::Loss;
use serde_json::Value;

/// A question, and what its asker knows of its cost.
pub(super) struct AskWithConsent {
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

impl AskWithConsent {
    /// A question as it was put.
    pub(super) fn new(ask: Ask) -> AskWithConsent {
        match ask {
            Ask::Sure { ask, agreed: Some(agreed) } => {
                AskWithConsent { ask: *ask, consent: Consent::Of(agreed) }
            }
            Ask::Sure { ask, agreed: None } => AskWithConsent { ask: *ask, consent: Consent::Whatever },
            ask => AskWithConsent { ask, consent: Consent::Unasked },
        }
    }
}

impl Actor {
    /// The question, if it costs no more than was agreed to, with the plan of the way back to which
    /// that is bound (null: there is none).
    ///
    /// # Errors
    /// It costs more, or its cost is not known; the text is for people.
    pub(super) async fn agreed(&mut self, asked: AskWithConsent, lang: &str) -> Result<(Ask, Value), String> {
        let AskWithConsent { ask, consent } = asked;
        let agreed = match consent {
            Consent::Whatever => return Ok((ask, Value::Null)),
            Consent::Unasked => None,
            Consent::Of(agreed) => Some(agreed),
        };
        let Cost { plan, .. } = match self.cost(&ask, lang).await? {
            cost if cost.beyond(agreed.as_deref().unwrap_or_default()).is_empty() => cost,
            cost => {
                let more = name_first(&cost.beyond(agreed.as_deref().unwrap_or_default()));
                return Err(match agreed {
                    Some(_) => words::say(lang, Word::CostsMore, &[&more]),
                    None => words::say(lang, Word::Costs, &[&more, &self.consent(&ask, lang)]),
                });
            }
        };
        Ok((ask, plan))
    }
}

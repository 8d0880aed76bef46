//! Questions to the guests of the cluster's process, through its control socket: lessons, labs and
//! drills are asked, and followed, in one way.

use super::lesson::tag;
use super::texts::Lang;
use cluster::control::{self, Control};
use cluster::{Error, Place};
use lab::{graded, guest, practice, view};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What one of the guests can be asked.
pub trait Asks {
    /// The question as the control socket takes it; it is answered in this language.
    fn question(self, lang: Lang) -> control::Ask;
}

impl Asks for view::Ask {
    fn question(self, lang: Lang) -> control::Ask {
        let question = view::Question { lang: tag(lang).into(), ask: self, id: String::new() };
        to_guest(guest::NAME, &question)
    }
}

impl Asks for graded::view::Ask {
    fn question(self, lang: Lang) -> control::Ask {
        let question = graded::view::Question { lang: tag(lang).into(), ask: self };
        to_guest(graded::guest::NAME, &question)
    }
}

impl Asks for practice::view::Ask {
    fn question(self, lang: Lang) -> control::Ask {
        let question = practice::view::Question { lang: tag(lang).into(), ask: self };
        to_guest(practice::guest::NAME, &question)
    }
}

/// A question to the guest of this name.
pub(crate) fn to_guest(name: &str, question: &impl Serialize) -> control::Ask {
    let question = serde_json::to_value(question).unwrap_or_default();
    control::Ask::Guest { name: name.into(), question }
}

/// Asks a guest one question and returns its answer.
///
/// # Errors
/// The cluster does not run or does not answer, or the guest refuses: then with its own words.
pub async fn ask(place: &Place, lang: Lang, ask: impl Asks) -> Result<Value, Error> {
    let question = ask.question(lang);
    Control::connect(place).await?.ask(&question).await
}

/// Asks a guest a question whose answer is a `T`, for example the view of a lab.
///
/// # Errors
/// Those of [`ask`], and an answer of another shape.
pub async fn asked<T: DeserializeOwned>(place: &Place, lang: Lang, question: impl Asks) -> Result<T, Error> {
    let value = ask(place, lang, question).await?;
    serde_json::from_value(value).map_err(|e| Error::Control(e.to_string()))
}

/// Asks a guest to be followed: returns its view, and the connection on which a view comes after
/// every change.
///
/// # Errors
/// Those of [`ask`].
pub(crate) async fn follow<T: DeserializeOwned + Default>(
    place: &Place,
    lang: Lang,
    ask: impl Asks,
) -> Result<(Control, T), Error> {
    let question = ask.question(lang);
    let mut control = Control::connect(place).await?;
    let first = control.ask(&question).await?;
    Ok((control, serde_json::from_value(first).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_question_goes_to_the_guest_that_answers_it_in_the_asker_s_language() {
        let told = |asked: control::Ask| match asked {
            control::Ask::Guest { name, question } => (name, question["lang"].clone()),
            _ => panic!("it goes to no guest"),
        };
        let is = |name: &str| (name.to_string(), json!("ko"));
        assert_eq!(told(view::Ask::Follow.question(Lang::Ko)), is("lesson"));
        assert_eq!(told(graded::view::Ask::Follow.question(Lang::Ko)), is("lab"));
        assert_eq!(told(practice::view::Ask::Follow.question(Lang::Ko)), is("drill"));
    }
}

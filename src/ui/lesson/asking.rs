//! Questions to the lesson engine, through the cluster's control socket.

pub use crate::guests::ask;
use crate::guests::{self, to_guest};
use crate::texts::Lang;
use cluster::control::Control;
use cluster::{Error, Place};
use lab::guest::NAME;
use lab::view::{Ask, LessonView, Question, State};
use serde_json::Value;

/// Returns the name under which engines are asked for a language, and lessons keep its texts: `en`,
/// `ko`.
pub fn tag(lang: Lang) -> &'static str {
    if lang == Lang::Ko { "ko" } else { "en" }
}

/// Asks a question that can be taken back by its id.
///
/// # Errors
/// Those of [`ask`].
pub(crate) async fn ask_as(id: String, place: &Place, lang: Lang, ask: Ask) -> Result<Value, Error> {
    let question = to_guest(NAME, &Question { lang: tag(lang).into(), ask, id });
    Control::connect(place).await?.ask(&question).await
}

/// Asks a question that is answered with a view.
///
/// # Errors
/// Those of [`ask`], and an answer that is no view.
pub async fn view(place: &Place, lang: Lang, question: Ask) -> Result<LessonView, Error> {
    guests::asked(place, lang, question).await
}

/// Follows the open lesson: returns its view, and the connection on which a view comes after every
/// change.
///
/// # Errors
/// Those of [`ask`].
pub(crate) async fn follow(place: &Place, lang: Lang) -> Result<(Control, LessonView), Error> {
    guests::follow(place, lang, Ask::Follow).await
}

/// How the open step stands after it was waited for.
#[derive(Debug)]
pub(crate) enum Green {
    Done(LessonView),
    /// It is not done yet, or is skipped on this cluster.
    NotYet(LessonView),
}

/// Waits until the open step is done, and its debrief complete, but not longer than `limit`.
///
/// # Errors
/// Those of [`ask`], and the cluster's end.
pub(crate) async fn until_green(
    place: &Place,
    lang: Lang,
    limit: std::time::Duration,
) -> Result<Green, Error> {
    let over = |v: &LessonView| matches!(v.state, State::Done | State::Solved);
    let (mut control, mut now) = follow(place, lang).await?;
    let green = async {
        while !over(&now) {
            if now.state == State::Skipped {
                return Ok(false); // it never will be
            }
            let next = control.next().await?.ok_or_else(|| Error::NotRunning(place.name.clone()))?;
            now = serde_json::from_value(next).unwrap_or_default();
        }
        Ok(true)
    };
    match clock::timeout(limit, green).await {
        Some(Ok(true)) => {}
        Some(Err(error)) => return Err(error),
        Some(Ok(false)) | None => return Ok(Green::NotYet(now)),
    }
    // The last hops of the debrief may still be on their way.
    let settle = async {
        while let Ok(Some(value)) = control.next().await {
            now = serde_json::from_value(value).unwrap_or_default();
        }
    };
    let _ = clock::timeout(DEBRIEF, settle).await; // the end of the connection is no error here
    Ok(Green::Done(now))
}

/// How long a debrief is given to become complete.
const DEBRIEF: std::time::Duration = std::time::Duration::from_millis(300);

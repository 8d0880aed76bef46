//! Practice as a guest of the cluster's process.

use super::run::Practice;
use super::view::{Ask, DrillView, Question};
use crate::format::Text;
use crate::graded::Opened;
use crate::guest_questions::{self, Work};
use cluster::control::Reply;
use cluster::guest::{Guest, Host};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use lang::Lang;
use serde_json::{Value, json};
use std::sync::Arc;
use task::Crew;
use tokio::sync::watch;

/// The word by which practice is asked for.
pub const NAME: &str = "drill";

/// Practice once the cluster has started, or why it could not begin.
type StartedPractice = Work<Arc<Practice>>;

/// Practice as a guest.
#[derive(Default)]
pub(crate) struct Drills {
    practice: StartedPractice,
    /// Wakes followers that asked before practice had begun.
    started: watch::Sender<()>,
    opened: Opened,
}

/// The state of a follower's stream: practice, its changes, and the view that was sent last.
type Following = (Arc<Practice>, watch::Receiver<()>, Option<DrillView>);

impl Drills {
    /// `opened` says which graded lab is open.
    pub(crate) fn new(opened: Opened) -> Drills {
        Drills { opened, ..Drills::default() }
    }

    /// The view in a language now and after every change. Time that runs is no change. Where
    /// practice could not begin, the stream says why, and ends.
    fn follow(&self, lang: String) -> BoxStream<'static, Reply> {
        let (practice, mut started) = (self.practice.clone(), self.started.subscribe());
        let own_lang = lang.clone();
        let first = async move {
            let begun: Result<Following, String> =
                match guest_questions::await_start(&practice, &mut started).await? {
                    Ok(practice) => {
                        let mut changes = practice.changes();
                        changes.mark_changed();
                        Ok((practice.clone(), changes, None))
                    }
                    Err(why) => Err(why.get(&own_lang).to_string()),
                };
            Some(begun)
        };
        let views = stream::once(first).filter_map(std::future::ready).flat_map(move |begun| {
            let lang = lang.clone();
            match begun {
                Ok(state) => stream::unfold(state, move |state| next(state, lang.clone())).boxed(),
                Err(why) => stream::iter([Reply::Error(why)]).boxed(),
            }
        });
        views.boxed()
    }
}

/// Waits for a view that differs from the last one.
async fn next((practice, mut changes, last): Following, lang: String) -> Option<(Reply, Following)> {
    loop {
        changes.changed().await.ok()?;
        changes.mark_unchanged();
        let view = practice.view(&lang);
        let same = |last: &DrillView| DrillView { left_s: view.left_s, ..last.clone() } == view;
        if !last.as_ref().is_some_and(same) {
            return Some((Reply::Ok(json!(view)), (practice, changes, Some(view))));
        }
    }
}

impl Guest for Drills {
    fn name(&self) -> &'static str {
        NAME
    }

    fn start(&self, crew: &Crew, host: Host) {
        let made = Practice::new(crew, host, self.opened.clone());
        let said =
            |error: cluster::Error| Text::said(|lang| error.say(Lang::parse(lang).unwrap_or_default()));
        let made = self.practice.get_or_init(|| made.map_err(said));
        if let Ok(practice) = made {
            crew.spawn(practice.clone().sweep());
        }
        self.started.send_replace(());
    }

    fn ask(&self, question: Value) -> BoxStream<'static, Reply> {
        let question: Question = match guest_questions::read(question) {
            Ok(question) => question,
            Err(refused) => return refused,
        };
        if matches!(question.ask, Ask::Follow) {
            return self.follow(question.lang);
        }
        let practice = self.practice.clone();
        guest_questions::once(async move {
            let practice = guest_questions::ready(&practice, &question.lang)?;
            practice.answer(question.ask, &question.lang).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_follower_hears_why_practice_could_not_begin() {
        let drills = Drills::default();
        assert!(drills.practice.set(Err(Text::new("there is no kubeconfig"))).is_ok());
        let mut views = drills.follow("ko".into());
        let first = views.next().await;
        assert!(matches!(first, Some(Reply::Error(why)) if why == "there is no kubeconfig"));
        assert!(views.next().await.is_none());
    }
}

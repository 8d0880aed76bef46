//! The engine as a guest of the cluster's process: a channel takes the questions of sessions, and
//! sessions that follow get a stream of views.

use super::actor::{self, Asked, QUESTIONS_MAX, Views, too_many};
use super::format::{EN, OTHERS};
use super::graded::Opened;
use super::guest_questions;
use super::view::{Ask, LessonView, Question};
use cluster::control::Reply;
use cluster::guest::{Guest, Host};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use serde_json::{Value, json};
use task::Crew;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

/// The word by which the engine is asked for.
pub const NAME: &str = "lesson";

const ENDED: &str = "the lesson engine has ended; the cluster's log says why";

type Start = (mpsc::Receiver<Asked>, watch::Sender<Views>);

/// The lesson engine as a guest: questions go in, views come out.
pub(crate) struct Lessons {
    questions: mpsc::Sender<Asked>,
    views: watch::Receiver<Views>,
    start: Mutex<Option<Start>>,
    labs: Opened,
}

impl Lessons {
    /// `labs` says which lab is open.
    pub(crate) fn new(labs: Opened) -> Lessons {
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let (shown, views) = watch::channel(Views::default());
        Lessons { questions, views, start: Mutex::new(Some((asked, shown))), labs }
    }

    /// The view in a language now and after every change.
    fn follow(&self, lang: String) -> BoxStream<'static, Reply> {
        let mut views = self.views.clone();
        views.mark_changed();
        // Of a language that is not spoken here there will never be a view.
        let lang = if OTHERS.contains(&lang.as_str()) { lang } else { EN.to_string() };
        let replies = stream::unfold((views, None), move |(mut views, last)| {
            let lang = lang.clone();
            async move {
                loop {
                    if views.changed().await.is_err() {
                        // It ended before it had anything to tell: the session is not left
                        // waiting.
                        let reply = last.is_none().then(|| Reply::Error(ENDED.into()))?;
                        return Some((reply, (views, Some(LessonView::default()))));
                    }
                    // Before the engine has read its progress there is nothing to see, which is not
                    // the same as no open lesson.
                    let Some(view) = views.borrow_and_update().get(&lang).cloned() else { continue };
                    if last.as_ref() != Some(&view) {
                        return Some((Reply::Ok(json!(view)), (views, Some(view))));
                    }
                }
            }
        });
        replies.boxed()
    }
}

impl Guest for Lessons {
    fn name(&self) -> &'static str {
        NAME
    }

    fn start(&self, crew: &Crew, host: Host) {
        let Some((asked, views)) = self.start.lock().take() else {
            return;
        };
        let (own, labs) = (crew.clone(), self.labs.clone());
        crew.spawn(async move {
            if let Err(error) = actor::run(own, host, labs, asked, views).await {
                tracing::error!(error = cluster::chain(&error), "lessons cannot be played");
            }
        });
    }

    fn ask(&self, question: Value) -> BoxStream<'static, Reply> {
        let question: Question = match guest_questions::read(question) {
            Ok(question) => question,
            Err(refused) => return refused,
        };
        if matches!(question.ask, Ask::Follow) {
            return self.follow(question.lang);
        }
        let (reply, answer) = oneshot::channel();
        // The prompt does not wait for the engine, except before the lesson of the last session is
        // open again: until then a command would be judged (and, on another's cluster, refused) as
        // if none were.
        let is_line = matches!(question.ask, Ask::Typed { .. } | Ask::Ran { .. });
        let is_noted = is_line && !self.views.borrow().is_empty();
        let lang = question.lang.clone();
        let note = match question.ask {
            Ask::Typed { .. } => json!(self.views.borrow().get(EN).and_then(|view| view.shell.clone())),
            _ => Value::Null,
        };
        let at_once = match self.questions.try_send((question, reply)) {
            Ok(()) if is_noted => Reply::Ok(note),
            Ok(()) => return stream::once(answered(answer)).boxed(),
            // A check that looks at the lines would miss one: here the prompt does wait.
            Err(TrySendError::Full(asked)) if is_line => {
                let questions = self.questions.clone();
                let sent = async move {
                    match questions.send(asked).await {
                        Ok(()) if is_noted => Reply::Ok(note),
                        Ok(()) => answered(answer).await,
                        Err(_) => Reply::Error(ENDED.into()),
                    }
                };
                return stream::once(sent).boxed();
            }
            Err(TrySendError::Full(_)) => too_many(&lang),
            Err(TrySendError::Closed(_)) => Reply::Error(ENDED.into()),
        };
        stream::iter([at_once]).boxed()
    }
}

/// Waits for the engine's reply.
async fn answered(answer: oneshot::Receiver<Reply>) -> Reply {
    answer.await.unwrap_or_else(|_| Reply::Error(ENDED.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broken_shell::{BrokenShell, ShellFault};

    fn ask(lessons: &Lessons, lang: &str, ask: Ask) -> BoxStream<'static, Reply> {
        lessons.ask(json!(Question { lang: lang.into(), ask, id: String::new() }))
    }

    async fn told(mut replies: BoxStream<'static, Reply>) -> Reply {
        replies.next().await.expect("a reply")
    }

    /// The session breaks its shell before the line runs, and does not wait for the engine.
    #[tokio::test]
    async fn a_line_hears_what_the_open_step_breaks_in_the_shell() {
        let lessons = Lessons::new(Opened::default());
        let (_asked, shown) = lessons.start.lock().take().expect("it has not started");
        let broken = BrokenShell { id: "t/01#one@7".into(), faults: vec![ShellFault::Path] };
        let typed = || Ask::Typed { line: "kubectl get pods".into() };
        for (shell, told_line) in [(None, Value::Null), (Some(broken.clone()), json!(broken))] {
            let view = LessonView { shell, ..LessonView::default() };
            shown.send_replace(std::sync::Arc::new([(EN.to_string(), view)].into()));
            assert!(matches!(told(ask(&lessons, "ko", typed())).await, Reply::Ok(told) if told == told_line));
        }
        let ran =
            Ask::Ran { line: "true".into(), code: 0, shell: None, running: vec![], running_before: vec![] };
        assert!(matches!(told(ask(&lessons, EN, ran)).await, Reply::Ok(Value::Null)));
    }

    /// The engine is at work for a minute, and more sessions ask than can wait for it.
    #[tokio::test]
    async fn a_full_engine_refuses_questions_and_keeps_every_line() {
        let lessons = Lessons::new(Opened::default());
        let (mut asked, shown) = lessons.start.lock().take().expect("it has not started");
        shown.send_replace(std::sync::Arc::new([(EN.to_string(), LessonView::default())].into()));
        let waiting: Vec<_> = (0..QUESTIONS_MAX).map(|_| ask(&lessons, EN, Ask::Show)).collect();
        for (lang, said) in [("en", "64 questions wait"), ("ko", "질문 64개")] {
            match told(ask(&lessons, lang, Ask::Next)).await {
                Reply::Error(why) => assert!(why.contains(said), "{why}"),
                other => panic!("{other:?}"),
            }
        }
        let line = Ask::Ran {
            line: "kubectl get pods".into(),
            code: 0,
            shell: None,
            running: vec![],
            running_before: vec![],
        };
        let mut ran = tokio::spawn(told(ask(&lessons, EN, line)));
        tokio::task::yield_now().await;
        assert!(!ran.is_finished(), "the prompt waits for room");
        let (_, reply) = asked.recv().await.expect("the first question");
        assert!(matches!((&mut ran).await, Ok(Reply::Ok(Value::Null))), "there is room now");
        drop(reply);
        let mut last = None;
        while let Ok((question, _)) = asked.try_recv() {
            last = Some(question.ask);
        }
        assert!(matches!(last, Some(Ask::Ran { code: 0, .. })), "{last:?}");
        for unanswered in waiting {
            assert!(matches!(told(unanswered).await, Reply::Error(why) if why == ENDED));
        }
    }
}

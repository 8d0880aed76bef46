//! The engine as a guest of the cluster's process: a door for questions, a stream for those who
//! follow.

use super::actor::{self, Asked, Views};
use super::asking;
use super::format::{EN, OTHERS};
use super::graded::Opened;
use super::view::{Ask, LessonView, Question};
use cluster::control::Reply;
use cluster::guest::{Guest, Host};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use serde_json::{Value, json};
use task::Crew;
use tokio::sync::{mpsc, oneshot, watch};

/// The word by which the engine is asked for.
pub const NAME: &str = "lesson";

const ENDED: &str = "the lesson engine has ended; the cluster's log says why";

type Start = (mpsc::UnboundedReceiver<Asked>, watch::Sender<Views>);

/// The lesson engine as a guest: questions go in, views come out.
pub struct Lessons {
    questions: mpsc::UnboundedSender<Asked>,
    views: watch::Receiver<Views>,
    start: Mutex<Option<Start>>,
    labs: Opened,
}

impl Lessons {
    /// `labs` says which lab is open.
    pub fn new(labs: Opened) -> Lessons {
        let (questions, asked) = mpsc::unbounded_channel();
        let (shown, views) = watch::channel(Views::default());
        Lessons { questions, views, start: Mutex::new(Some((asked, shown))), labs }
    }

    /// The view in a language now and after every change.
    fn follow(&self, lang: String) -> BoxStream<'static, Reply> {
        let mut views = self.views.clone();
        views.mark_changed();
        // Of a language that is not spoken here there will never be a view.
        let lang = if OTHERS.contains(&lang.as_str()) { lang } else { EN.to_string() };
        let told = stream::unfold((views, None), move |(mut views, last)| {
            let lang = lang.clone();
            async move {
                loop {
                    if views.changed().await.is_err() {
                        // It ended before it had anything to tell: the session is not left
                        // waiting.
                        let told = last.is_none().then(|| Reply::Error(ENDED.into()))?;
                        return Some((told, (views, Some(LessonView::default()))));
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
        told.boxed()
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
        let question: Question = match asking::read(question) {
            Ok(question) => question,
            Err(refused) => return refused,
        };
        if matches!(question.ask, Ask::Follow) {
            return self.follow(question.lang);
        }
        let (reply, answer) = oneshot::channel();
        // The prompt does not wait for the engine, except once: before the lesson of the last
        // session is open again, a command would be judged (and, on another's cluster, refused) as
        // if none were.
        let resumed = !self.views.borrow().is_empty();
        if resumed && matches!(question.ask, Ask::Typed { .. } | Ask::Ran { .. }) {
            let told = match self.questions.send((question, reply)) {
                Ok(()) => Reply::Ok(Value::Null),
                Err(_) => Reply::Error(ENDED.into()),
            };
            return stream::iter([told]).boxed();
        }
        let asked = self.questions.send((question, reply));
        let answer = async move {
            match (asked, answer.await) {
                (Ok(()), Ok(reply)) => reply,
                _ => Reply::Error(ENDED.into()),
            }
        };
        stream::once(answer).boxed()
    }
}

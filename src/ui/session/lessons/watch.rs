//! The task that follows the open lesson and tells the learner what the engine finds out by itself,
//! for example that a step is done.

use super::{AGAIN, width};
use crate::lesson::{self, PageStyle};
use crate::lesson_files;
use crate::session::Session;
use crate::session::news::News;
use crate::texts::{Lang, Say};
use cluster::{Error, Place};
use lab::view::LessonView;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// Why a lesson is not followed any more.
enum Stopped {
    /// The cluster has ended, or has no lessons.
    Ended,
    /// The learner has chosen another language, in which the lesson is followed anew.
    OtherLanguage,
    Failed(Error),
}

/// Follows the open lesson.
struct Watcher {
    place: Place,
    /// The language that the session speaks now.
    lang: Arc<Mutex<Lang>>,
    style: PageStyle,
    news: Arc<News>,
    /// The last view. It is kept at a change of language: the first view in the other language may
    /// have news.
    known: Option<LessonView>,
    /// The next pause before the lesson is followed again. `None`: no error since the last view.
    pause: Option<Duration>,
}

impl Session {
    /// Starts the task that follows the lesson, until the cluster ends. An error of the engine is
    /// told, too; then the task follows again, with a growing pause. It replaces the task of
    /// before, which may be in such a pause and would tell everything twice.
    pub(crate) fn watch_lesson(&mut self) {
        let watcher = Watcher {
            place: self.place.clone(),
            lang: self.lang.clone(),
            style: self.style(),
            news: self.news.clone(),
            known: None,
            pause: None,
        };
        let following = self.handle.spawn(watcher.run());
        if let Some(before) = self.engine.following.replace(following.abort_handle()) {
            before.abort();
        }
    }
}

impl Watcher {
    async fn run(mut self) {
        loop {
            let spoken = *self.lang.lock();
            match self.follow(spoken).await {
                Stopped::Ended => return,
                Stopped::OtherLanguage => {}
                // Whether there is a lesson is not known yet, so there is nothing to tell.
                Stopped::Failed(_) if self.known.is_none() => clock::sleep(AGAIN.0).await,
                Stopped::Failed(error) => {
                    self.tell_error(&error, spoken);
                    clock::sleep(self.next_pause()).await;
                }
            }
        }
    }

    /// Follows the lesson in one language; returns why that has stopped.
    async fn follow(&mut self, spoken: Lang) -> Stopped {
        let (mut control, mut view) = match lesson::follow(&self.place, spoken).await {
            Ok(following) => following,
            Err(Error::NotRunning(_)) => return Stopped::Ended,
            // The cluster was too busy to answer, or this process could not open the socket, e.g.
            // for too many open files.
            Err(error @ (Error::Hangs { .. } | Error::File { .. })) => return Stopped::Failed(error),
            Err(_) if self.known.is_none() => return Stopped::Ended,
            Err(error) => return Stopped::Failed(error),
        };
        loop {
            if *self.lang.lock() != spoken {
                return Stopped::OtherLanguage;
            }
            self.take_view(view, spoken);
            view = match control.next().await {
                Ok(Some(value)) => serde_json::from_value(value).unwrap_or_default(),
                Ok(None) => return Stopped::Ended,
                Err(error) => return Stopped::Failed(error),
            };
        }
    }

    /// Tells what is new in a view, places the files of a lesson that was just opened, and keeps
    /// the view.
    fn take_view(&mut self, view: LessonView, spoken: Lang) {
        // The window may be narrower than it was.
        let style = PageStyle { lang: spoken, width: width(), ..self.style };
        if let Some(words) = self.known.as_ref().and_then(|known| lesson::news(&style, known, &view)) {
            self.news.tell(words);
        }
        let is_opened = self.known.as_ref().is_none_or(|known| known.id != view.id);
        // Also of a lesson that was opened by a key of the interface.
        if is_opened
            && !view.finished
            && let Ok(folder) = std::env::current_dir()
        {
            let told = lesson_files::place_all(spoken, &view.files, &folder, false);
            if !told.is_empty() {
                self.news.tell(told);
            }
        }
        (self.known, self.pause) = (Some(view), None);
    }

    /// Tells an error of the engine, once until it gives a view again.
    fn tell_error(&self, error: &Error, spoken: Lang) {
        if self.pause.is_none() {
            self.news.tell(spoken.say(Say::LessonAgain, &[&error.say(spoken)]));
        }
    }

    /// Returns the pause after an error: the first one of [`AGAIN`], then twice the one before, up
    /// to the longest.
    fn next_pause(&mut self) -> Duration {
        let pause = self.pause.unwrap_or(AGAIN.0);
        self.pause = Some((pause * 2).min(AGAIN.1));
        pause
    }
}

//! Prints news, e.g. that a step is done, when no program has the terminal.

use super::Session;
use crate::column::Column;
use lang::charset::{print, println};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{TrySendError, sync_channel};
use std::time::Duration;

/// Prints news at once, or gives back what it cannot take now. It is called while the news are
/// locked, so it waits for nothing but the terminal.
type Voice = Box<dyn FnMut(String) -> Result<(), String> + Send>;

/// News on their way to the learner. They would stand in the middle of an editor, or behind
/// the prompt of a shell in a container: there they wait until the program that has the terminal
/// ends.
pub(super) struct News {
    column: Arc<Column>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` where lines come from a file or a pipe: news are dropped.
    voice: Option<Voice>,
    /// What the voice has taken and not said yet, where it speaks on a thread of its own.
    unsaid: Arc<Unsaid>,
    /// A program has the terminal to itself.
    held: bool,
    /// What waits, the oldest first.
    kept: VecDeque<String>,
}

/// How many news wait, at most; the oldest are dropped. A step that is lost and found again for an
/// hour, while a file is edited, is reported with its last state.
const KEPT_MAX: usize = 5;

/// How long a line of the shell waits for news that are being printed. Those that take longer wait
/// for the editor, which shows them at its next prompt.
const SAYING_MAX: Duration = Duration::from_millis(50);

/// Counts news that are being printed.
#[derive(Default)]
struct Unsaid {
    count: Mutex<usize>,
    said: Condvar,
}

impl Unsaid {
    fn count(&self) -> MutexGuard<'_, usize> {
        self.count.lock()
    }

    fn take_one_off(&self) {
        *self.count() -= 1;
        self.said.notify_all();
    }

    /// Waits until all is said, but not for ever.
    fn wait(&self) {
        self.said.wait_while_for(&mut self.count(), |count| *count > 0, SAYING_MAX);
    }
}

impl State {
    fn keep(&mut self, words: String) {
        self.kept.push_back(words);
        while self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
        }
    }
}

impl News {
    pub(super) fn new(column: Arc<Column>) -> News {
        News { column, state: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Prints news, now or when the terminal is free, on lines of their own: the editor clears the
    /// line of its prompt.
    pub(super) fn tell(&self, mut words: String) {
        if !words.ends_with('\n') {
            words.push('\n');
        }
        let mut state = self.open();
        if state.voice.is_none() {
            return;
        }
        if state.held || !state.kept.is_empty() || self.column.full_screen() {
            return state.keep(words);
        }
        if let Some(voice) = &mut state.voice
            && let Err(words) = voice(words)
        {
            state.keep(words);
        }
    }

    /// Returns whether news wait because a program has the terminal.
    #[cfg(test)]
    pub(super) fn is_held(&self) -> bool {
        self.open().held
    }

    /// Makes news wait from now on.
    pub(super) fn hold(&self) {
        let unsaid = {
            let mut state = self.open();
            state.held = true;
            state.unsaid.clone()
        };
        unsaid.wait();
    }

    /// Prints the news that have waited, because the terminal is free again.
    pub(super) fn release(&self) {
        let mut state = self.open();
        state.held = false;
        if state.kept.is_empty() && state.voice.is_none() {
            return;
        }
        // Also if none has waited: one may come before the prompt, behind output without a newline.
        if self.column.take_inside() {
            println!();
        }
        for words in state.kept.drain(..) {
            print!("{words}");
        }
    }

    /// Says news from now on by a voice that never waits.
    pub(super) fn say_with(&self, mut voice: impl FnMut(String) + Send + 'static) {
        self.open().voice = Some(Box::new(move |words| {
            voice(words);
            Ok(())
        }));
    }

    /// Says news from now on by a voice that may have to wait, on a thread of its own: the editor
    /// takes the second of two messages only when it reads keys again. [`News::tell`] and
    /// [`News::hold`] do not wait for that. The thread ends with [`News::end`], or with the news.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn say_on_a_thread(
        &self,
        mut voice: impl FnMut(String) + Send + 'static,
    ) -> std::io::Result<()> {
        let (say, said) = sync_channel::<String>(KEPT_MAX);
        let unsaid = Arc::new(Unsaid::default());
        let own = unsaid.clone();
        std::thread::Builder::new().name("news".into()).spawn(move || {
            for words in said {
                voice(words);
                own.take_one_off();
            }
        })?;
        let mut state = self.open();
        state.unsaid = unsaid.clone();
        state.voice = Some(Box::new(move |words| {
            *unsaid.count() += 1;
            say.try_send(words).map_err(|error| {
                unsaid.take_one_off();
                match error {
                    TrySendError::Full(words) | TrySendError::Disconnected(words) => words,
                }
            })
        }));
        Ok(())
    }

    /// Drops all news from now on, and those that wait.
    pub(super) fn end(&self) {
        let mut state = self.open();
        state.voice = None;
        state.kept.clear();
    }
}

impl Session {
    /// Tells news by a voice that never waits.
    pub(crate) fn print_news_with(&self, voice: impl FnMut(String) + Send + 'static) {
        self.news.say_with(voice);
    }

    /// Tells news by a voice that may have to wait, on a thread of its own. The thread ends with
    /// [`Session::end_news`], or with the news.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn print_news_on_a_thread(
        &self,
        voice: impl FnMut(String) + Send + 'static,
    ) -> std::io::Result<()> {
        self.news.say_on_a_thread(voice)
    }

    /// Ends all news: a session that ends the cluster must not report its end as news.
    pub(crate) fn end_news(&self) -> impl FnOnce() + Send + use<> {
        let news = self.news.clone();
        move || news.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Manner;
    use crate::texts::Lang;

    #[test]
    fn news_wait_for_an_editor_and_come_at_once_otherwise() {
        let column = Arc::new(Column::default());
        let news = News::new(column.clone());
        news.tell("to nobody".into());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let own = heard.clone();
        news.open().voice = Some(Box::new(move |words| {
            own.lock().push(words);
            Ok(())
        }));
        news.tell("first".into());
        column.saw(b"\x1b[?1049h");
        news.tell("second".into());
        column.saw(b"\x1b[?1049l");
        news.tell("third, not before it".into());
        assert_eq!(news.open().kept, ["second\n", "third, not before it\n"]);
        news.release();
        assert!(news.open().kept.is_empty());
        news.hold();
        column.saw(b"output without a newline");
        news.release();
        assert!(!column.take_inside(), "news that come before the prompt begin on a new line");
        news.hold();
        news.tell("fourth".into());
        assert_eq!(*heard.lock(), ["first\n"]);
        assert_eq!(news.open().kept, ["fourth\n"]);
        news.release();
        news.tell("fifth".into());
        assert_eq!(*heard.lock(), ["first\n", "fifth\n"]);
        news.hold();
        (0..1000).for_each(|n| news.tell(format!("{n}\n")));
        assert_eq!(news.open().kept, ["995\n", "996\n", "997\n", "998\n", "999\n"]);
        news.end();
        assert!(news.open().kept.is_empty(), "nothing is said behind the farewell");
    }

    /// The editor takes one message while it reads no keys, e.g. behind Enter; the next one waits.
    #[test]
    fn a_voice_that_has_to_wait_stops_nobody() {
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = cluster::Home::at(dir.path()).cluster("main").unwrap();
        let session = Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone());
        let (take, taken) = sync_channel(1);
        session.print_news_on_a_thread(move |words| drop(take.send(words))).unwrap();
        let news = session.news.clone();
        let (done, ended) = std::sync::mpsc::channel();
        let line = std::thread::spawn(move || {
            (0..20).for_each(|n| news.tell(format!("{n}")));
            news.hold(); // a line for the shell
            news.tell("held".into());
            let kept = news.open().kept.clone();
            done.send(kept).unwrap();
        });
        let kept = ended.recv_timeout(Duration::from_secs(60)).expect("the line runs");
        assert_eq!(kept.back().map(String::as_str), Some("held\n"));
        assert_eq!(kept.len(), KEPT_MAX);
        line.join().unwrap();
        // The editor reads again: what was on its way comes, in order.
        let came: Vec<String> = (0..3).map(|_| taken.recv().unwrap()).collect();
        assert_eq!(came, ["0\n", "1\n", "2\n"]);
        session.end_news()();
        while taken.recv().is_ok() {} // ends with the thread
    }
}

//! Lines that the teacher plays while the engine goes on.
//!
//! A setup has several lines of up to a minute each. Meanwhile the state can be asked for and
//! followed, with the line that is being played; what was typed is noted, what the watches tell is
//! taken over, and the lines can be stopped. Any other question waits: it would find a lesson that
//! is half set up.

use super::{Actor, Asked, QUESTIONS_MAX, Views, keep, publish, too_many};
use crate::engine::Engine;
use crate::error::Error;
use crate::lines;
use crate::observe::watch::Report;
use crate::view::{Ask, Question};
use crate::words::{self, Word};
use cluster::control::Reply;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;
use tap::Tap;
use tokio::sync::{mpsc, oneshot, watch as channel};

/// What the lines have made is written down at least so often, and whenever a line begins.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// The lines were stopped at this one, of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stopped {
    pub at: usize,
    pub of: usize,
}

impl Stopped {
    /// The sentence for the learner.
    pub(super) fn say(self, lang: &str) -> String {
        words::say(lang, Word::Stopped, &[&self.at.to_string(), &self.of.to_string()])
    }

    /// Tells a stop from other errors, which may be what the lines are about.
    pub(super) fn of(played: &Result<(), Error>) -> Result<(), Stopped> {
        match played {
            Err(Error::Stopped { at, of }) => Err(Stopped { at: *at, of: *of }),
            _ => Ok(()),
        }
    }
}

impl Actor {
    /// Has the teacher play lines in the present scope.
    ///
    /// # Errors
    /// As [`Teacher::play`](crate::teacher::Teacher::play), and [`Error::Stopped`].
    pub(super) async fn play(&mut self, lines: &[String]) -> Result<(), Error> {
        let (teacher, scope) = (self.teacher.clone(), self.engine.observer.recorder.scope.clone());
        let (begins, begun) = channel::channel((0, 0));
        let playing = teacher.play_telling(lines, &scope, move |at, of| {
            begins.send_replace((at, of));
        });
        let meanwhile = Meanwhile {
            engine: &mut self.engine,
            tap: self.host.tap(),
            views: &self.views,
            questions: &mut self.questions,
            later: &mut self.later,
            reports: &mut self.reports,
            scope_number: self.scope_number,
            asked_by: &self.asked_by,
            count: lines::commands(lines).len(),
        };
        meanwhile.attend(playing, begun).await
    }
}

/// The parts of the engine that go on while lines are played.
struct Meanwhile<'a> {
    engine: &'a mut Engine,
    tap: &'a Tap,
    views: &'a channel::Sender<Views>,
    questions: &'a mut mpsc::Receiver<Asked>,
    later: &'a mut VecDeque<Asked>,
    reports: &'a mut mpsc::Receiver<(u64, Report)>,
    scope_number: u64,
    /// The id of the question that has lines played.
    asked_by: &'a str,
    count: usize,
}

impl Meanwhile<'_> {
    /// Waits for the end of the lines, or for a question that stops them: then the line that runs
    /// is given up, and the later ones are not begun.
    async fn attend(
        mut self,
        playing: impl Future<Output = Result<(), Error>>,
        mut begun: channel::Receiver<(usize, usize)>,
    ) -> Result<(), Error> {
        tokio::pin!(playing);
        let mut due = clock::deadline(KEEP_EVERY);
        let played = loop {
            tokio::select! {
                // What has begun is known before a question stops it. What is due comes before
                // reports, which may be ready all the time.
                biased;
                Ok(()) = begun.changed() => {
                    self.engine.playing = Some(*begun.borrow_and_update());
                    self.keep_made();
                    if self.is_resumed() {
                        publish(self.engine, self.views);
                    }
                }
                played = &mut playing => break played,
                Some(asked) = self.questions.recv() => {
                    if let Some(Stopped { at, of }) = self.answer(asked) {
                        break Err(Error::Stopped { at, of });
                    }
                }
                () = clock::pause_until(due) => {
                    self.keep_made();
                    due = clock::deadline(KEEP_EVERY);
                }
                Some((scope_number, report)) = self.reports.recv() => {
                    if scope_number == self.scope_number {
                        self.engine.take_report(report);
                    }
                }
            }
        };
        self.engine.playing = None;
        played
    }

    /// Notes what the lines have made so far, and writes it down. A process that ends in the middle
    /// of a setup would else leave objects that no lesson seems to have made, and the learner would
    /// be asked whether they may go.
    fn keep_made(&mut self) {
        for record in self.tap.since(self.engine.observer.recorder.seq) {
            self.engine.record(&record);
        }
        if std::mem::take(&mut self.engine.noted) {
            keep(self.engine);
        }
    }

    /// Before the lesson of the last session is open again no view is sent, and what is typed waits
    /// for it.
    fn is_resumed(&self) -> bool {
        !self.views.borrow().is_empty()
    }

    /// Answers a question, or keeps it for later. `Some`: the lines are to end.
    fn answer(&mut self, (question, reply): Asked) -> Option<Stopped> {
        let (mut stopped, resumed) = (None, self.is_resumed());
        let answer = match question {
            Question { ask: Ask::Stop { question: asked_by }, lang, .. } => match asked_by {
                Some(id) if id.is_empty() || id != self.asked_by => {
                    self.later.retain(|(waiting, _)| waiting.id != id || id.is_empty());
                    Value::Null
                }
                _ => {
                    let (at, of) = self.engine.playing.unwrap_or((1, self.count));
                    stopped = Some(Stopped { at, of });
                    json!(Stopped { at, of }.say(&lang))
                }
            },
            question if !resumed => {
                self.put_off(question, reply);
                return None;
            }
            Question { ask: Ask::Typed { line }, .. } => {
                self.engine.typed(line);
                json!(self.engine.broken_shell())
            }
            Question { ask: Ask::Ran { line, code, shell, running, running_before }, .. } => {
                self.engine.note_shell(shell);
                self.engine.ran(line, code, running_before, running);
                Value::Null
            }
            Question { ask: Ask::Show, lang, .. } => json!(self.engine.view(&lang)),
            Question { ask: Ask::List, lang, .. } => json!(self.engine.list(&lang)),
            question => {
                self.put_off(question, reply);
                return None;
            }
        };
        let _ = reply.send(Reply::Ok(answer)); // the session may be gone
        stopped
    }

    /// Keeps a question until the lines have been played. One that finds [`QUESTIONS_MAX`] others
    /// there is refused.
    fn put_off(&mut self, question: Question, reply: oneshot::Sender<Reply>) {
        if self.later.len() >= QUESTIONS_MAX {
            let _ = reply.send(too_many(&question.lang)); // the session may be gone
            return;
        }
        self.later.push_back((question, reply));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::engine;
    use crate::progress::Progress;
    use std::sync::Arc;
    use tap::{Event, Record, Request, TEACHER, Write};

    /// An engine whose lines are in the test's hand.
    struct Stage {
        engine: Engine,
        tap: Tap,
        views: channel::Sender<Views>,
        shown: channel::Receiver<Views>,
        ask: mpsc::Sender<Asked>,
        questions: mpsc::Receiver<Asked>,
        later: VecDeque<Asked>,
    }

    /// What people ask through, see, and what tells which line has begun.
    type Hands = (mpsc::Sender<Asked>, channel::Receiver<Views>, channel::Sender<(usize, usize)>);

    impl Stage {
        fn new() -> Stage {
            let (ask, questions) = mpsc::channel(QUESTIONS_MAX);
            let (views, shown) = channel::channel(Views::default());
            let engine = engine();
            publish(&engine, &views);
            Stage { engine, tap: Tap::new(), views, shown, ask, questions, later: VecDeque::new() }
        }

        /// Plays seven lines that never end by themselves, for the question `opens`, while `people`
        /// act.
        async fn play<F: Future<Output = ()>>(
            &mut self,
            end: oneshot::Receiver<Result<(), Error>>,
            people: impl FnOnce(Hands) -> F,
        ) -> Result<(), Error> {
            let (begins, begun) = channel::channel((0, 0));
            let (_tell, mut reports) = mpsc::channel(1);
            let people = people((self.ask.clone(), self.shown.clone(), begins));
            let meanwhile = Meanwhile {
                engine: &mut self.engine,
                tap: &self.tap,
                views: &self.views,
                questions: &mut self.questions,
                later: &mut self.later,
                reports: &mut reports,
                scope_number: 0,
                asked_by: "opens",
                count: 7,
            };
            let playing = async { end.await.unwrap() };
            tokio::join!(meanwhile.attend(playing, begun), people).0
        }
    }

    fn asked(ask: &mpsc::Sender<Asked>, lang: &str, what: Ask, id: &str) -> oneshot::Receiver<Reply> {
        let (reply, answer) = oneshot::channel();
        let question = Question { lang: lang.into(), ask: what, id: id.into() };
        assert!(ask.try_send((question, reply)).is_ok());
        answer
    }

    fn stop(question: Option<&str>) -> Ask {
        Ask::Stop { question: question.map(String::from) }
    }

    fn value_of(reply: Reply) -> Value {
        match reply {
            Reply::Ok(value) => value,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_engine_answers_while_lines_are_played_and_others_wait() {
        let mut stage = Stage::new();
        let (end, ended) = oneshot::channel();
        let played = stage
            .play(ended, |(ask, mut shown, begun)| async move {
                begun.send((3, 7)).unwrap();
                let is_playing = |views: &Views| views["en"].playing == Some((3, 7));
                assert!(shown.wait_for(is_playing).await.is_ok(), "those who follow see it");
                let view = value_of(asked(&ask, "en", Ask::Show, "").await.unwrap());
                assert_eq!(view["playing"], json!([3, 7]));
                assert!(value_of(asked(&ask, "ko", Ask::List, "").await.unwrap()).is_array());
                let mut next = asked(&ask, "en", Ask::Next, "other");
                // A question that is put after it is answered, so this one was seen.
                asked(&ask, "en", Ask::Show, "").await.unwrap();
                assert!(next.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Empty));
                end.send(Ok(())).unwrap();
            })
            .await;
        assert!(played.is_ok());
        assert_eq!(stage.later.len(), 1, "`next` is asked when the lesson is set up");
        assert_eq!(stage.engine.playing, None);
    }

    #[tokio::test]
    async fn lines_are_stopped_in_either_language_by_anybody_or_by_who_asked_for_them() {
        for (question, lang, said) in
            [(None, "en", "stopped at command 3 of 7"), (Some("opens"), "ko", "명령 3/7에서 멈췄습니다")]
        {
            let mut stage = Stage::new();
            let (_never, ended) = oneshot::channel();
            let played = stage
                .play(ended, |(ask, _, begun)| async move {
                    begun.send((3, 7)).unwrap();
                    let answer = value_of(asked(&ask, lang, stop(question), "").await.unwrap());
                    assert!(answer.as_str().is_some_and(|answer| answer.starts_with(said)), "{answer}");
                })
                .await;
            assert_eq!(Stopped::of(&played), Err(Stopped { at: 3, of: 7 }));
            assert_eq!(stage.engine.playing, None);
        }
    }

    /// The program may end before the last line has.
    #[tokio::test]
    async fn what_lines_have_made_is_written_down_while_they_are_played() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lessons.json");
        let mut stage = Stage::new();
        stage.engine.path = path.clone();
        let body = json!({"apiVersion": "v1", "metadata": {"namespace": "default", "name": "nginx-pod"}});
        let record = Record::new(Event::Commit(Write::CREATED)).object("pods", "default", "nginx-pod");
        let mut record = record.revision(7);
        record.body = Some(body.to_string().into());
        record.request = Some(Request { user: TEACHER.into(), ..Request::default() });
        stage.tap.emit(record);
        let (end, ended) = oneshot::channel();
        let played = stage
            .play(ended, |(_, mut shown, begun)| async move {
                begun.send((3, 7)).unwrap();
                let is_playing = |views: &Views| views["en"].playing == Some((3, 7));
                assert!(shown.wait_for(is_playing).await.is_ok());
                assert!(Progress::load(&path).unwrap().is_made("pods/default/nginx-pod"));
                end.send(Ok(())).unwrap();
            })
            .await;
        assert!(played.is_ok());
    }

    /// Ctrl-C in another session takes back its own question and stops nothing.
    #[tokio::test]
    async fn a_question_that_waits_is_taken_back_and_the_lines_go_on() {
        let mut stage = Stage::new();
        let (end, ended) = oneshot::channel();
        let played = stage
            .play(ended, |(ask, _, _)| async move {
                let kept = asked(&ask, "en", Ask::Back, "kept");
                let taken_back = asked(&ask, "en", Ask::Next, "other");
                assert_eq!(value_of(asked(&ask, "en", stop(Some("other")), "").await.unwrap()), Value::Null);
                assert!(taken_back.await.is_err(), "nobody answers it any more");
                drop(kept);
                end.send(Ok(())).unwrap();
            })
            .await;
        assert!(played.is_ok());
        let waiting: Vec<&str> = stage.later.iter().map(|(question, _)| question.id.as_str()).collect();
        assert_eq!(waiting, ["kept"]);
    }

    /// More sessions ask during a setup than can wait for its end.
    #[tokio::test]
    async fn a_question_that_finds_too_many_others_waiting_is_refused() {
        let mut stage = Stage::new();
        let (end, ended) = oneshot::channel();
        let played = stage
            .play(ended, |(ask, _, _)| async move {
                let mut waiting = Vec::new();
                for _ in 0..QUESTIONS_MAX {
                    waiting.push(asked(&ask, "en", Ask::Next, "other"));
                    // A question that is put after it is answered, so this one was seen.
                    asked(&ask, "en", Ask::Show, "").await.unwrap();
                }
                for (lang, said) in [("en", "64 questions wait"), ("ko", "질문 64개")] {
                    match asked(&ask, lang, Ask::Next, "other").await.unwrap() {
                        Reply::Error(why) => assert!(why.contains(said), "{why}"),
                        other => panic!("{other:?}"),
                    }
                }
                assert!(waiting.iter_mut().all(|next| next.try_recv().is_err()), "they still wait");
                end.send(Ok(())).unwrap();
            })
            .await;
        assert!(played.is_ok());
        assert_eq!(stage.later.len(), QUESTIONS_MAX);
    }

    /// The lesson of the last session is still being opened.
    #[tokio::test]
    async fn what_is_taken_up_at_the_start_can_be_stopped() {
        let mut stage = Stage::new();
        stage.views.send_replace(Arc::default());
        let (_never, ended) = oneshot::channel();
        let played = stage
            .play(ended, |(ask, _, _)| async move {
                let _show = asked(&ask, "en", Ask::Show, "");
                value_of(asked(&ask, "en", stop(None), "").await.unwrap());
            })
            .await;
        assert_eq!(Stopped::of(&played), Err(Stopped { at: 1, of: 7 }), "before a line has begun");
        assert_eq!(stage.later.len(), 1);
    }
}

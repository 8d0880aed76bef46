//! The interface moves to the cluster of a lesson or lab, and back. It keeps what it leaves: the
//! pane's shell with its directory and variables, and where the learner was.

use super::super::event::{Event, Question};
use super::super::model::Model;
use super::super::update::update;
use super::super::words::Word;
use super::pty::Pty;
use super::run::{Feeds, Interface, Setting, start_repl};
use crate::beside::Beside;
use crate::settings;
use crate::terminal;
use crate::texts::Lang;
use clock::Instant;
use lab::graded::view::Ask as LabAsk;
use lab::view::{Ask, Elsewhere};
use lang::charset::eprintln;
use ratatui::layout::Size;
use std::io;
use std::mem::replace;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::task::{JoinError, JoinSet};

/// What was left on the learner's own cluster, and the other cluster, which ends on the way back.
pub(super) struct Left {
    setting: Setting,
    model: Model,
    opened: Instant,
    pty: Pty,
    welcomed: Arc<AtomicBool>,
    beside: Box<Beside>,
}

/// Starts and removes such clusters. There is one at a time: all have the same name.
#[derive(Default)]
pub(super) struct Works {
    tasks: JoinSet<Done>,
    is_starting: bool,
    /// Starts when the cluster before it is removed.
    next: Option<Elsewhere>,
}

impl Works {
    /// Waits for a task and returns what it has done; `None` at once if there is none.
    pub(super) async fn next_done(&mut self) -> Option<Result<Done, JoinError>> {
        self.tasks.join_next().await
    }
}

/// What a task has done to such a cluster; errors are for people.
pub(super) enum Done {
    Started(Elsewhere, Result<Box<Beside>, String>),
    Ended(Result<(), String>),
}

/// Returns the question that opens a lesson or lab.
fn opening(there: &Elsewhere) -> Question {
    let id = there.id.clone();
    match there.lab {
        // The cluster is a fresh one: nothing can be lost.
        true => (&LabAsk::Start { id, seed: there.seed, agreed: None }).into(),
        false => (&Ask::Open { id }).into(),
    }
}

impl Interface {
    /// Starts the cluster of a lesson or lab aside. If the one before it is still being removed, it
    /// starts after that.
    pub(super) fn begin(&mut self, there: Elsewhere) {
        if self.works.is_starting || self.works.next.is_some() || self.left.is_some() {
            (self.model.notice, self.model.lesson.asked) = (Some(Word::StillAsked), None);
            return;
        }
        if !self.works.tasks.is_empty() {
            self.model.notice = Some(Word::BesideGoing);
            self.works.next = Some(there);
            return;
        }
        self.works.is_starting = true;
        let (own, lang) = (self.setting.place.clone(), self.model.lang);
        self.works.tasks.spawn(async move {
            let started = Beside::start(own, &there, lang).await;
            Done::Started(there, started.map(Box::new))
        });
    }

    /// Takes in what a task has done: after a start the interface moves.
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Started(..) => self.works.is_starting = false,
            Done::Ended(_) => {
                if let Some(there) = self.works.next.take() {
                    self.begin(there);
                }
            }
        }
        let told = match done {
            Done::Started(there, Ok(beside)) => match self.move_to(&there, beside) {
                Ok(()) => return,
                Err(error) => Event::Refused(error.to_string()),
            },
            Done::Ended(Ok(())) => {
                self.model.notice = Some(Word::BesideGone);
                return;
            }
            Done::Started(_, Err(why)) | Done::Ended(Err(why)) => Event::Refused(why),
        };
        update(&mut self.model, told); // it has no effects
    }

    /// Moves to a cluster that was started for a lesson or lab.
    fn move_to(&mut self, there: &Elsewhere, beside: Box<Beside>) -> io::Result<()> {
        let (lang, ascii) = (self.model.lang, self.setting.ascii);
        let setting = Setting { place: beside.place().clone(), lang, ascii, first: Some(opening(there)) };
        let (columns, rows) = terminal::size();
        let opened = Instant::now();
        let size = Size::new(columns, rows);
        let mut model = Model::new(&setting.place.name, lang, self.model.look, size, clock::now());
        model.is_declared = true;
        let pty = match start_repl(&setting, &mut model) {
            Ok(pty) => pty,
            Err(error) => {
                self.works.tasks.spawn(async move { Done::Ended(beside.end(lang).await) });
                return Err(error);
            }
        };
        let welcomed = Arc::new(AtomicBool::new(true));
        self.feeds = Feeds::start(&setting, lang, &welcomed);
        self.model.lesson.asked = None;
        self.left = Some(Left {
            setting: replace(&mut self.setting, setting),
            model: replace(&mut self.model, model),
            opened: replace(&mut self.opened, opened),
            pty: replace(&mut self.pty, pty),
            welcomed: replace(&mut self.welcomed, welcomed),
            beside,
        });
        Ok(())
    }

    /// Goes back to the learner's own cluster, and removes the other one aside. False: nothing was
    /// left.
    pub(super) fn go_back(&mut self) -> bool {
        let Some(left) = self.left.take() else { return false };
        let Left { setting, model, opened, pty, welcomed, beside } = left;
        let lang = self.model.lang; // it may have been changed there
        if lang != model.lang
            && let Some(token) = model.shell.token()
        {
            // Else the REPL of the pane speaks the former language until it is asked for this one.
            let _ = settings::leave_for_pane(&setting.place, token, lang);
        }
        self.setting = Setting { first: None, lang, ..setting };
        (self.model, self.opened, self.welcomed) = (model, opened, welcomed);
        let pane = replace(&mut self.pty, pty);
        self.feeds = Feeds::start(&self.setting, lang, &self.welcomed);
        (self.model.lang, self.model.notice) = (lang, Some(Word::BesideGoing));
        self.model.now = self.opened.elapsed();
        // The tasks tell all anew, and no command of before is played again.
        self.model.live_from = clock::now();
        update(&mut self.model, Event::NewCluster);
        let (columns, rows) = terminal::size();
        update(&mut self.model, Event::Resize(Size::new(columns, rows)));
        let (rows, columns) = self.model.shell.size();
        self.pty.resize(rows, columns);
        self.works.tasks.spawn(async move {
            let _ = tokio::task::spawn_blocking(move || drop(pane)).await; // it waits for the REPL
            Done::Ended(beside.end(lang).await)
        });
        true
    }
}

/// Ends the cluster of a lesson or lab with the interface, also one that is just being started.
pub(super) async fn wind_up(left: Option<Left>, mut works: Works, lang: Lang) {
    if let Some(Left { pty, beside, .. }) = left {
        drop(pty);
        beside.end_or_say(lang).await;
    }
    while let Some(done) = works.next_done().await {
        match done {
            Ok(Done::Started(_, Ok(beside))) => beside.end_or_say(lang).await,
            Ok(Done::Started(_, Err(why)) | Done::Ended(Err(why))) => {
                eprintln!("ropewalk: {why}")
            }
            Ok(Done::Ended(Ok(()))) | Err(_) => {}
        }
    }
}

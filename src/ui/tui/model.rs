//! All that is on the screen, as plain data.

use super::cluster::{Cluster, Key, Stand};
use super::event::{Offer, Question};
use super::flow::traffic::{Then, Traffic};
use super::lab::Lab;
use super::layout::{self, Form, Pane, Panes};
use super::look::Look;
use super::map::ages_due;
use super::scroll::Scroll;
use super::terminal::Emulator;
use super::words::Word;
use crate::texts::Lang;
use clock::Timestamp;
use lab::format::Terms;
use lab::graded::view::LabView;
use lab::view::{Entry, Judged, LessonView, Predict, State};
use ratatui::layout::{Rect, Size};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Characters that come closer together than this are a text, not keys.
pub(crate) const BURST: Duration = Duration::from_millis(250);
/// A watch that broke off is opened again within this time, unless the API server is silent.
const SILENT: Duration = Duration::from_secs(2);
/// What takes this long says what it waits for.
const SLOW: Duration = Duration::from_millis(200);
/// How often running times on the screen move on.
const SECOND: Duration = Duration::from_millis(1000);

/// Makes [`View`] from its table: the name that lessons and the REPL use, and two texts, its title
/// and its question.
macro_rules! views {
    ($($(#[$about:meta])* $view:ident: $name:literal, $title:ident, $asks:ident;)*) => {
        /// A diagram. Each answers one question.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) enum View {
            $($(#[$about])* $view,)*
        }

        impl View {
            /// In the order of the digits that choose them.
            pub(crate) const ALL: &[View] = &[$(View::$view),*];

            /// Returns the name that lessons and the REPL use.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(View::$view => $name,)*
                }
            }

            /// Its title, and the question that it answers.
            pub(crate) fn words(self) -> (Word, Word) {
                match self {
                    $(View::$view => (Word::$title, Word::$asks),)*
                }
            }
        }
    };
}

views! {
    #[default]
    Cluster: "cluster", ViewCluster, AsksCluster;
    ControlPlane: "control-plane", ViewControlPlane, AsksControlPlane;
    Raft: "raft", ViewRaft, AsksRaft;
    Scheduling: "scheduling", ViewScheduling, AsksScheduling;
    Network: "network", ViewNetwork, AsksNetwork;
    Rollout: "rollout", ViewRollout, AsksRollout;
    Pod: "pod", ViewPod, AsksPod;
}

impl View {
    /// Returns the view of this name.
    pub(crate) fn named(name: &str) -> Option<View> {
        View::ALL.iter().copied().find(|v| v.name() == name)
    }

    /// Returns the view that this digit chooses: `1` is the first.
    pub(crate) fn of_digit(digit: char) -> Option<View> {
        let at = digit.to_digit(10)?.checked_sub(1)?;
        View::ALL.get(at as usize).copied()
    }
}

/// What lies over the panes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overlay {
    /// From this line on.
    Help(usize),
    /// The choice of a view, with the one that is marked.
    Views(usize),
    /// The moments that can be looked back at, with the one that is marked, from the newest on.
    Time(usize),
    /// The commands in the lesson's pane, with the one that is marked.
    Commands(usize),
    /// The terms in the lesson's pane, with the one that is explained.
    Terms(usize),
    /// Whether the cluster of a lesson or lab is to be started.
    Beside,
}

impl Overlay {
    /// Returns the line that it begins with, or its mark.
    pub(crate) fn at(self) -> usize {
        match self {
            Overlay::Help(at)
            | Overlay::Views(at)
            | Overlay::Time(at)
            | Overlay::Commands(at)
            | Overlay::Terms(at) => at,
            Overlay::Beside => 0,
        }
    }

    /// This overlay at another line, or with another mark.
    pub(crate) fn moved(self, at: usize) -> Overlay {
        match self {
            Overlay::Help(_) => Overlay::Help(at),
            Overlay::Views(_) => Overlay::Views(at),
            Overlay::Time(_) => Overlay::Time(at),
            Overlay::Commands(_) => Overlay::Commands(at),
            Overlay::Terms(_) => Overlay::Terms(at),
            Overlay::Beside => Overlay::Beside,
        }
    }
}

/// What a letter in the lesson's pane does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Act {
    Ask(Question),
    /// Puts a command on the line of the prompt.
    Type(String),
    /// Shows the list of lessons and labs; from there, goes back to what is open.
    Turn,
    /// Chooses a command of the text for the line of the prompt.
    Commands,
    /// Explains a word of the text.
    Terms,
}

/// What the lesson's pane shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Page {
    /// The lab or, if none is open, the lesson; the list if nothing is open.
    #[default]
    Open,
    /// The lesson, also while a lab is open.
    Lesson,
    List,
}

/// What is known of the lessons.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lesson {
    pub view: Option<LessonView>,
    pub list: Vec<Entry>,
    /// What was shown before the list of lessons.
    pub turned_from: Page,
    /// The one marked in the list of lessons and, below them, labs.
    pub marked: usize,
    /// Where that list is scrolled to.
    pub list_scroll: Scroll,
    /// Why there is no lesson.
    pub absent: Option<String>,
    /// Why the open lesson could not be shown, until its next view.
    pub failure: Option<String>,
    /// The last question's refusal, until the next answer, or until the step has gone on.
    pub refused: Option<String>,
    pub scroll: Scroll,
    /// Since when the current step is open.
    pub since: Duration,
    /// A question is on its way since then. Its answer is waited for: two on their way could
    /// overtake each other.
    pub asked: Option<Duration>,
    /// A letter that was pressed alone does this, unless another follows within [`BURST`]: then it
    /// is a command in the wrong pane.
    pub pressed: Option<(Act, Duration)>,
    /// The line in which the question of the step is answered, while it is open.
    pub draft: Option<String>,
    /// When the last character was typed in this pane.
    pub typed: Option<Duration>,
}

/// All that the interface shows. Events change it (`update`), and the screen is drawn from it alone
/// (`render`).
pub(crate) struct Model {
    pub lang: Lang,
    pub look: Look,
    /// The interface's own clock: time since it was opened.
    pub now: Duration,
    /// When that was.
    pub opened: Timestamp,
    /// Records from before this time are not played by themselves: it was opened then, or came back
    /// from the cluster of a lesson, and hears all records anew.
    pub live_from: Timestamp,
    pub size: Size,
    pub focus: Pane,
    /// The pane that F2 goes back to from the map.
    pub back: Pane,
    pub zoom: bool,
    pub overlay: Option<Overlay>,
    /// The time view shows only the objects that differ.
    pub only_different: bool,
    /// The prefix key was pressed; the next key is for the frame.
    pub prefix: bool,
    /// Why the last key did nothing, until the next one.
    pub notice: Option<Word>,
    /// The last key asked to quit over a full-screen program: once more does.
    pub leaving: bool,
    /// A program in the shell was sent the press of a mouse button, and not yet its release.
    pub grabbed: bool,
    /// The REPL in the shell pane reads a line.
    pub at_prompt: bool,
    /// Typed when the REPL begins to read the next line.
    pub at_next_prompt: Option<String>,
    pub view: View,
    /// The learner chose the view: it stays until the next step.
    pub chosen: bool,
    /// The object that was chosen for a view that shows one. `None`: the first of the list.
    pub about: Option<Key>,
    /// The place of `about` in the list when it was chosen: if it is gone, the view shows what
    /// stands there now.
    pub subject: usize,
    pub cluster: Cluster,
    pub traffic: Traffic,
    pub page: Page,
    pub lesson: Lesson,
    pub lab: Lab,
    /// What the terms mean that a text may have; empty until it is read.
    pub glossary: Terms,
    pub shell: Emulator,
    /// The name of the cluster.
    pub name: String,
    /// The cluster was started for a lesson or lab, and is removed afterwards.
    pub is_declared: bool,
    /// The cluster that the overlay asks about.
    pub offer: Option<Offer>,
    /// The cluster's own account of itself.
    pub status: Option<Value>,
    /// The cluster answered, and does no more.
    pub ended: bool,
    /// Resources of which the API server tells nothing any more, and since when.
    pub silent: BTreeMap<String, Duration>,
    /// Resources that the learner may not list.
    pub denied: BTreeSet<String>,
}

impl Model {
    pub(crate) fn new(name: &str, lang: Lang, look: Look, size: Size, opened: Timestamp) -> Model {
        let mut model = Model {
            lang,
            look,
            now: Duration::ZERO,
            opened,
            live_from: opened,
            size,
            focus: Pane::Shell,
            back: Pane::Shell,
            zoom: false,
            overlay: None,
            only_different: false,
            prefix: false,
            notice: None,
            leaving: false,
            grabbed: false,
            at_prompt: false,
            at_next_prompt: None,
            view: View::Cluster,
            chosen: false,
            about: None,
            subject: 0,
            cluster: Cluster::default(),
            traffic: Traffic::new(),
            page: Page::default(),
            lesson: Lesson::default(),
            lab: Lab::default(),
            glossary: Terms::default(),
            shell: Emulator::new(24, 80),
            name: name.into(),
            is_declared: false,
            offer: None,
            status: None,
            ended: false,
            silent: BTreeMap::new(),
            denied: BTreeSet::new(),
        };
        let inside = layout::inside(model.panes().shell);
        model.shell.resize(inside.height, inside.width, false);
        model
    }

    pub(crate) fn area(&self) -> Rect {
        Rect::new(0, 0, self.size.width, self.size.height)
    }

    pub(crate) fn panes(&self) -> Panes {
        self.panes_on(self.area())
    }

    pub(crate) fn panes_on(&self, area: Rect) -> Panes {
        layout::panes(area, self.focus, self.zoom, self.ponders())
    }

    /// Returns how the screen is divided.
    pub(crate) fn form(&self) -> Form {
        Form::of(self.area())
    }

    /// Gives a pane the focus.
    pub(crate) fn go_to(&mut self, pane: Pane) {
        if pane == Pane::Map && self.focus != Pane::Map {
            self.back = self.focus;
        }
        self.focus = pane;
    }

    /// A question waits for its answer, and the learner has not asked for a diagram meanwhile.
    pub(crate) fn ponders(&self) -> bool {
        let no_task = self.open_lesson().is_some_and(|v| v.task.is_empty());
        !self.chosen && no_task && self.question().is_some()
    }

    /// Returns the lab in the lesson's pane.
    pub(crate) fn shown_lab(&self) -> Option<&LabView> {
        self.lab.open().filter(|_| self.page == Page::Open)
    }

    /// Returns the lesson in its pane. `None`: none is open, or the pane shows a lab or the list.
    pub(crate) fn open_lesson(&self) -> Option<&LessonView> {
        let open = self.lesson.view.as_ref().filter(|view| !view.id.is_empty());
        open.filter(|_| self.shown_lab().is_none() && self.page != Page::List)
    }

    /// Returns the ids of the open lesson and the open lab.
    pub(crate) fn open_ids(&self) -> impl Iterator<Item = &str> {
        let lesson = self.lesson.view.as_ref().map(|view| view.id.as_str());
        let lab = self.lab.open().map(|view| view.id.as_str());
        lesson.into_iter().chain(lab).filter(|id| !id.is_empty())
    }

    /// Returns the ids in the list: lessons and, below them, labs.
    pub(crate) fn listed_ids(&self) -> impl Iterator<Item = &str> {
        let lessons = self.lesson.list.iter().map(|entry| entry.id.as_str());
        lessons.chain(self.lab.list.iter().map(|entry| entry.id.as_str()))
    }

    /// True if the lesson's pane shows the list of lessons and labs, or why there is none.
    pub(crate) fn shows_list(&self) -> bool {
        self.shown_lab().is_none() && self.open_lesson().is_none()
    }

    /// True while the lesson engine plays the lines of a setup, which can be stopped in the pane.
    pub(crate) fn plays(&self) -> bool {
        self.shown_lab().is_none() && self.lesson.view.as_ref().is_some_and(|view| view.playing.is_some())
    }

    /// Returns where the lesson's pane is scrolled to.
    pub(crate) fn scroll(&self) -> Scroll {
        match self.shown_lab() {
            Some(_) => self.lab.scroll,
            None if self.shows_list() => self.lesson.list_scroll,
            None => self.lesson.scroll,
        }
    }

    /// Scrolls the lesson's pane.
    pub(crate) fn scroll_to(&mut self, scroll: Scroll) {
        match self.shown_lab() {
            Some(_) => self.lab.scroll = scroll,
            None if self.shows_list() => self.lesson.list_scroll = scroll,
            None => self.lesson.scroll = scroll,
        }
    }

    /// Returns the question that waits for its answer. A learner who has done the step without
    /// guessing is not asked any more.
    pub(crate) fn question(&self) -> Option<&Predict> {
        let view = self.open_lesson().filter(|v| v.state == State::Open)?;
        view.predict.as_ref().filter(|p| p.chosen.is_none())
    }

    /// True if the open step asks for an answer that the cluster proves.
    pub(crate) fn asks_answer(&self) -> bool {
        let view = self.open_lesson().filter(|v| v.state == State::Open);
        let answer = view.and_then(|v| v.answer.as_ref());
        answer.is_some_and(|answer| answer.state != Judged::Right) && self.question().is_none()
    }

    /// True if function keys go to the program in the shell: a full-screen program that reads keys
    /// has them while its pane has the focus.
    pub(crate) fn program_has_keys(&self) -> bool {
        self.focus == Pane::Shell && self.overlay.is_none() && !self.at_prompt && self.shell.takes_keys()
    }

    /// True if a program has the whole screen of the shell. At the prompt none has: what was
    /// printed, e.g. a pod's log, has switched to the other screen.
    pub(crate) fn program_has_screen(&self) -> bool {
        !self.at_prompt && self.shell.screen().alternate_screen()
    }

    /// True once the start is complete: every node was Ready and kube-system ran. Something may be
    /// broken since.
    pub(crate) fn ready(&self) -> bool {
        self.status.as_ref().is_some_and(|s| s["state"] == "running")
    }

    /// Returns since when nothing of some resource has come from the API server; `None`: all come,
    /// or one has broken off a moment ago.
    pub(crate) fn silent_since(&self) -> Option<Duration> {
        let first = self.silent.values().min().copied()?;
        // Before a first list there is no picture that could be an old one.
        (self.now >= first + SILENT && !self.ended && self.cluster.heard).then_some(first)
    }

    /// Returns why the picture may be an old one, in words. `None`: it is the present.
    pub(crate) fn stale_reason(&self) -> Option<String> {
        if self.ended {
            return Some(self.lang.say(Word::StatusEnded, &[]));
        }
        let seconds = (self.now - self.silent_since()?).as_secs().to_string();
        Some(self.lang.say(Word::StatusSilent, &[&seconds]))
    }

    /// Returns since when a question waits for its answer, if it takes long.
    pub(crate) fn waits_since(&self) -> Option<Duration> {
        self.lesson.asked.filter(|asked| self.now >= *asked + SLOW)
    }

    /// Returns when something moves by itself next; `None`: only when something happens.
    pub(crate) fn due(&self) -> Option<Duration> {
        // What is waited for shows its time running.
        let waiting = !self.ready() && !self.ended || self.lesson.asked.is_some();
        let clock = waiting.then(|| Duration::from_secs(self.now.as_secs()) + SECOND);
        let slow = self.lesson.asked.map(|asked| asked + SLOW).filter(|due| *due > self.now);
        let letter = self.lesson.pressed.as_ref().map(|(_, at)| *at + BURST);
        let silent = self.silent.values().min().filter(|_| !self.ended);
        let silent = silent.map(|first| {
            let whole = Duration::from_secs(self.now.saturating_sub(*first).as_secs());
            *first + (whole + SECOND).max(SILENT)
        });
        // The age of a late lease is shown, too.
        let lease =
            self.cluster.heartbeat_due(self.now).filter(|_| !self.ended && self.view == View::Cluster);
        let lab = self.lab.due(self.now);
        let due = [self.traffic.due(), clock, slow, letter, silent, lease, lab, ages_due(self)];
        due.into_iter().flatten().min()
    }

    /// Returns the cluster as the diagrams show it: as it is, or, while a command is replayed, as
    /// it was at the lit hop.
    pub(crate) fn scene(&self) -> Cow<'_, Cluster> {
        let Some(revision) = self.traffic.revision() else { return Cow::Borrowed(&self.cluster) };
        let mut then = self.cluster.at(revision);
        // A pod that was there before the watch began has no past in the log: the hops tell it.
        let seen = self.cluster.past.pods();
        let unseen: Vec<Key> = then.pods.keys().filter(|key| !seen.contains(key)).cloned().collect();
        for key in unseen {
            let (node, stand, status) = match self.traffic.stand(&key.0, &key.1) {
                None => continue,
                Some(Then::NotYet) => {
                    then.pods.remove(&key);
                    continue;
                }
                Some(Then::Stored) => (Some(String::new()), Stand::Waiting, "Pending"),
                Some(Then::Starting) => (None, Stand::Starting, "ContainerCreating"),
            };
            if let Some(pod) = then.pods.get_mut(&key) {
                pod.forget_reports(node.is_none());
                pod.node = node.unwrap_or_else(|| std::mem::take(&mut pod.node));
                (pod.stand, pod.status) = (stand, status.into());
            }
        }
        Cow::Owned(then)
    }

    /// Shows a view that the learner chose.
    pub(crate) fn show(&mut self, view: View) {
        self.view = view;
        self.chosen = true;
        self.choose(&[], 0);
    }
}

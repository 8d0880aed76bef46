//! What comes in and what goes out: the two sides of [`update`](super::update).

use crate::texts::Lang;
use client::Delta;
use cluster::faults::Broken;
use crossterm::event::{KeyEvent, MouseEvent};
use lab::format::Terms;
use lab::graded::view::{Ask as LabAsk, Entry as LabEntry, LabView};
use lab::view::{Ask, Elsewhere, Entry, LessonView};
use ratatui::layout::Size;
use serde_json::Value;
use tap::Record;

/// Something happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Key(KeyEvent),
    Mouse(MouseEvent),
    Paste(String),
    Resize(Size),
    /// Output of the shell's terminal.
    Shell(Vec<u8>),
    /// The shell has ended with this code.
    ShellEnded(i32),
    /// The learner's terminal is gone.
    Gone,
    /// The time that [`Model::due`](super::model::Model::due) named has come.
    Tick,
    /// What a watch tells of a resource.
    Objects(String, Delta<Value>),
    /// The API server tells nothing of this resource any more, until a complete list of it comes.
    Silent(String),
    /// The learner may not list this resource: nothing of it comes until a complete list does.
    Denied(String),
    Records(Vec<Record>),
    /// So many records came too fast.
    Lost(u64),
    /// All that is broken on purpose now. Records tell what is broken from now on.
    Faults(Vec<Broken>),
    /// Another cluster answers under the same name: what came so far is not about it.
    NewCluster,
    /// The cluster's own account of itself (`status`); `None`: it does not answer.
    Status(Option<Value>),
    Lesson(Box<LessonView>),
    Lessons(Vec<Entry>),
    /// The open lab; an empty view if none is.
    Lab(Box<LabView>),
    Labs(Vec<LabEntry>),
    /// The engine did what it was asked. Its view comes from the task that follows the engine, and
    /// not with this answer: of two views from two tasks the older one could come last.
    Answered,
    /// The engine refused what it was asked, or does not answer.
    Refused(String),
    /// There is no lesson to follow.
    NoLesson(String),
    /// The glossary was read.
    Glossary(Terms),
    /// What was asked for is played on a cluster of its own.
    Offer(Offer),
}

/// A cluster that a lesson or lab declares, and what it costs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Offer {
    pub there: Elsewhere,
    /// Memory that it will take.
    pub megabytes: u32,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Bytes for the shell's terminal.
    Type(Vec<u8>),
    /// The shell's terminal has this size now: rows, columns.
    Size(u16, u16),
    Ask(Question),
    /// The views of lessons and labs are to come in this language from now on.
    Speak(Lang),
    Bell,
    /// Gives the terminal back until the shell that started this program lets it go on.
    Suspend,
    /// With this exit code.
    Quit(i32),
    /// Starts the cluster of a lesson or lab, and moves the interface to it.
    Begin(Elsewhere),
    /// Goes back from there to the learner's own cluster. Where the interface was opened on the
    /// declared one it ends, with this exit code.
    Home(i32),
}

/// A question to an engine, comparable for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Lesson(String),
    Lab(String),
}

impl From<&Ask> for Question {
    fn from(ask: &Ask) -> Question {
        Question::Lesson(serde_json::to_string(ask).unwrap_or_default())
    }
}

impl From<&LabAsk> for Question {
    fn from(ask: &LabAsk) -> Question {
        Question::Lab(serde_json::to_string(ask).unwrap_or_default())
    }
}

impl Question {
    /// The question, if it is one to the lesson engine.
    pub(crate) fn ask(&self) -> Option<Ask> {
        match self {
            Question::Lesson(text) => serde_json::from_str(text).ok(),
            Question::Lab(_) => None,
        }
    }

    /// The question, if it is one to the lab engine.
    pub(crate) fn ask_lab(&self) -> Option<LabAsk> {
        match self {
            Question::Lab(text) => serde_json::from_str(text).ok(),
            Question::Lesson(_) => None,
        }
    }
}

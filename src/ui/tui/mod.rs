//! # The interface: lesson, map and shell
//!
//! ## In Kubernetes
//! Dashboards poll the API and draw what is. None shows how it came to be, because no part of
//! Kubernetes tells every hop.
//! ## How this one works
//! A pure core between two edges:
//! ```text
//! keyboard ─┐                                  ┌─▶ bytes for the shell's terminal
//! shell     ├─▶ Event ─▶ update(Model) ─▶ Effect ─▶ questions to the engines of lessons and labs
//! records   │              │                   └─▶ suspend, quit
//! objects  ─┘              └─▶ render(Model) ─▶ cells
//! ```
//! [`model`] is plain data, [`update`] and [`render`] are functions without a clock, a socket or a
//! terminal, so every picture can be compared with a stored one. [`edge`] is the one loop around
//! them; it draws only when something looks different. The shell pane is [`super::repl`] on a
//! terminal of its own ([`terminal`]): kubectl, completion and the words of lessons live there,
//! once. [`flow`] turns records into the hops of a command and plays them at a speed that eyes can
//! follow; [`map`] draws them. A hop is lit for 0.25 to 1.2 s, so a very short or long one has a
//! speed of its own: the map's corner tells it. There is one play head for all views, and its line
//! stands under each of them, with marks: a command, a fault, a step of the lesson that turned
//! green. What a command removed stays in the picture with the time of its end.
//!
//! On a narrow screen the map is a strip of two lines, so that the lesson has all columns
//! ([`layout::Form`]); while the map has the focus, it has the whole screen.
//!
//! The lesson's pane is the lab's while a lab is open. Both engines are followed: a view comes
//! after every change, whichever session made it. What only looks (a hint, a check) is asked from
//! the pane; what ends something (`lab grade`, `lab leave`) is put on the prompt's line, where the
//! learner sees it before Enter.
//!
//! A lesson or lab that declares its cluster moves the whole interface there (`edge::moves`):
//! model, pane and tasks of the learner's own cluster are kept aside, and new ones take their
//! place. On the way back the tasks tell all anew, and the other cluster is removed.
//!
//! When the shell pane changes its size its lines are laid out anew, as terminals do. vt100, which
//! tui-term draws, cuts them off, also in its newest release. alacritty_terminal lays out anew, but
//! keeps to itself the sequences that it does not know, by which the REPL speaks to the frame, and
//! brings a terminal and an event loop of its own. So vt100 stays, and [`reflow`] prints its lines
//! on a new screen.
//!
//! Function keys are the frame's. A full-screen program that reads keys has them while its pane has
//! the focus; the prefix Ctrl-] gives them to the other side: Ctrl-] 1 is F1 of the frame, Ctrl-]
//! F1 is F1 of whatever runs in the shell.
//! ## Left out
//! A selection of text that ends at a pane's edge (Shift and the mouse select as the terminal does
//! it). The time view compares the few fields of the objects that the map knows, as far back as the
//! interface has seen them and 4000 changes reach; `rewind` goes further, and restores all.
//! ## Read next
//! [`flow`], then [`map`].

pub(crate) mod agreement;
pub(crate) mod cluster;
mod compare;
mod edge;
pub(crate) mod event;
pub(crate) mod flow;
pub(crate) mod keys;
pub(crate) mod lab;
pub(crate) mod layout;
pub(crate) mod look;
pub(crate) mod map;
pub(crate) mod markdown;
pub(crate) mod model;
mod osc;
mod reflow;
pub(crate) mod render;
mod scroll;
pub(crate) mod shown;
mod subject;
pub(crate) mod terminal;
pub(crate) mod text;
pub(crate) mod update;
mod wide;
pub(crate) mod words;

pub(crate) use edge::{Setting, run};

/// The question that opens what the interface was asked for: a lesson, or a lab with its seed.
pub(crate) fn first(lesson: Option<String>, lab: Option<(String, Option<u64>)>) -> Option<event::Question> {
    use ::lab::{graded::view::Ask as LabAsk, view::Ask};
    use event::Question;
    let lesson = lesson.map(|id| Question::from(&Ask::Open { id }));
    let start = |(id, seed)| Question::from(&LabAsk::Start { id, seed, agreed: None });
    lesson.or_else(|| lab.map(start))
}

#[cfg(test)]
mod tests;

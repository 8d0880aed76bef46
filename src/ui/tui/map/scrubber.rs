//! The line that moves the play head: the keys of the show, how far it is, and what happened on the
//! way. Every view has it, and all views have one play head.
//!
//! ```text
//! << < || > >>  $=====X==------+---  9/14  114 ms  1/100
//! ```
//!
//! `$` is a typed command, `X` a fault, `+` a step of the lesson that turned green. A mark stands
//! behind the hops that were over when it happened.

use super::super::flow::Flow;
use super::super::flow::traffic::{Mark, Marked};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::{cells, took};
use super::canvas::Canvas;
use clock::Timestamp;

/// A pane with less room than this has no line for it.
const SMALLEST: (usize, usize) = (28, 6);

/// True if there is a command to play, and a row for its line.
pub(super) fn fits(canvas: &Canvas<'_>, model: &Model) -> bool {
    let has_room = canvas.width() >= SMALLEST.0 && canvas.height() >= SMALLEST.1;
    has_room && model.traffic.shown().is_some()
}

/// Draws the line from a column to the right edge. Draws nothing if no command is shown.
pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, x: usize, y: usize) {
    let Some(flow) = model.traffic.shown() else { return };
    let play = &model.traffic.play;
    let middle = if play.playing && model.traffic.moving() { Sign::Pause } else { Sign::Play };
    let keys = [Sign::First, Sign::Back, middle, Sign::Step, Sign::Last].map(|s| canvas.sign(s)).join(" ");
    let x = canvas.put(x, y, &keys, Tone::Accent) + 2;
    let all = flow.hops.len();
    let hop = if all == 0 { 0 } else { (play.at + 1).min(all) };
    let mut tail = format!(" {hop}/{all}  {}  1/{}", took(flow.total()), play.slower);
    if x + cells(&tail) + 10 > canvas.width() {
        tail = format!(" {hop}/{all}  {}", took(flow.total()));
    }
    let room = canvas.width().saturating_sub(x + cells(&tail) + 2);
    let cell = |hops: usize| (room * hops.min(all)).checked_div(all).unwrap_or(0);
    let done = cell(play.at);
    let end = canvas.put(x, y, &canvas.sign(Sign::LineLit).repeat(done), Tone::Accent);
    let end = canvas.put(end, y, &canvas.sign(Sign::Line).repeat(room - done), Tone::Dim);
    canvas.put(end, y, &tail, Tone::Dim);
    for (hops, sign, tone) in marks(model, flow) {
        if room > 0 {
            canvas.put_in(x + cell(hops).min(room - 1), y, 1, canvas.sign(sign), tone);
        }
    }
}

/// The sign of what happened beside the commands.
pub(super) fn sign_of(what: &Marked) -> (Sign, Tone) {
    match what {
        Marked::Fault(_) => (Sign::Down, Tone::Bad),
        Marked::Green(_) => (Sign::Met, Tone::Good),
    }
}

/// True for a fault while a lab asks for the cause: its setup may have made it.
pub(super) fn is_answer(model: &Model, mark: &Mark) -> bool {
    matches!(mark.what, Marked::Fault(_)) && model.lab.asks_cause()
}

/// The marks of a command's line, each behind so many hops: commands that were typed while it went
/// on, and what happened from its beginning until the next command. Of two in one cell the later in
/// this list is seen.
fn marks(model: &Model, flow: &Flow) -> Vec<(usize, Sign, Tone)> {
    let traffic = &model.traffic;
    let over = |at: Timestamp| flow.hops.iter().filter(|hop| hop.at <= at).count();
    let end = flow.hops.iter().map(|hop| hop.at).max().unwrap_or(flow.began);
    let next = traffic.flows.iter().map(|other| other.began).filter(|began| *began > flow.began).min();
    let typed = traffic.flows.iter().filter(|other| other.session != flow.session);
    let typed = typed.map(|other| other.began).filter(|at| *at > flow.began && *at < end).map(over);
    let command = |hops: usize| (hops, Sign::Typed, Tone::Strong);
    let mut marks: Vec<(usize, Sign, Tone)> = std::iter::once(0).chain(typed).map(command).collect();
    let is_here = |at: Timestamp| at >= flow.began && (at <= end || next.is_none_or(|next| at < next));
    let mut beside: Vec<(usize, Sign, Tone)> = Vec::new();
    for mark in traffic.marks.iter().filter(|mark| is_here(mark.at) && !is_answer(model, mark)) {
        let (sign, tone) = sign_of(&mark.what);
        beside.push((over(mark.at), sign, tone));
    }
    // A fault is not hidden by a step that it was made for.
    beside.sort_by_key(|(_, sign, _)| *sign == Sign::Down);
    marks.extend(beside);
    marks
}

//! The Raft view where there is room: a lifeline for each member, as in a sequence diagram, so that
//! an arrow that passes a member does not point at it. From above: who sends entries to whom, the
//! end of the logs with what each entry changed, and the last election.
//!
//! ```text
//! term 5        L cp          * cp2         * cp3
//!               leads         follows       follows
//!               term 5        term 5        term 5
//!               |------------>|             |            entries
//!               |-------------+------------>|            entries
//! committed 868
//!    868        #             #             #            rev 860 pods/web2
//!    869        o             o                          on disk
//! 0.33 s        |             |<------------|            votes
//! ```

use super::super::agreement::{Happening, Mark, Role, StoryStep};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::{cells, took};
use super::super::words::Word;
use super::canvas::Canvas;
use super::hops::short;
use super::raft::{Column, LEFT, action, brief, columns, role, standing, story_of, term_and_quorum, writes};
use std::collections::BTreeSet;

/// Cells behind the last member's line, for what an arrow is and what an entry changed.
const LABEL: usize = 21;
/// A member's column is at least this wide, and at most that.
const COLUMN: std::ops::RangeInclusive<usize> = 9..=26;
/// Rows for links, at most.
const LINKS: usize = 5;
/// The columns of an entry's term, revision, object and time where there is one member.
const SINGLE: [usize; 4] = [10, 18, 30, 62];

/// Draws the whole view.
pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model) {
    let members = model.cluster.members().len().max(1);
    let room = canvas.width().saturating_sub(LEFT + LABEL) / members;
    let width = room.clamp(*COLUMN.start(), *COLUMN.end());
    let columns = columns(model, width);
    let agreement = &model.traffic.agreement;
    let [(term, strong), (needed, dim)] = term_and_quorum(canvas, agreement, columns.len());
    let x = canvas.row(1, 0, &[(&term, strong), ("  ", Tone::Plain), (&needed, dim)]);
    if let Some((word, tone)) = writes(agreement, &columns) {
        let text = canvas.word(word, &[]);
        canvas.put(x + 2, 0, &text, tone);
    }
    if columns.len() < 2 {
        return single(canvas, model, &columns);
    }
    heads(canvas, model, &columns, width);
    let label = columns.last().map_or(LEFT, |last| last.x) + 3;
    let y = links(canvas, model, &columns, 4, label);
    let below = canvas.height().saturating_sub(y);
    // Of an election with more steps than half of the rows, its end matters most.
    let steps = story_of(model);
    let story = steps.len().min(below / 2);
    log(canvas, model, &columns, (y, below - story), label);
    let top = canvas.height() - story;
    let first = steps.first().map(|first| first.at);
    for (at, step) in steps.iter().skip(steps.len() - story).enumerate() {
        let since = first.map_or(0.0, |first| step.at.duration_since(first).as_secs_f64().max(0.0));
        canvas.put(1, top + at, &format!("{since:.2} s"), Tone::Dim);
        story_row(canvas, step, &columns, top + at, label);
    }
}

/// Name, role and term of each member.
fn heads(canvas: &mut Canvas<'_>, model: &Model, columns: &[Column<'_>], width: usize) {
    let agreement = &model.traffic.agreement;
    // Either all names are whole or none is.
    let room = match columns.iter().all(|c| cells(short(c.node)) + 3 <= width) {
        true => width,
        false => 0,
    };
    for column in columns {
        let (sign, tone) = standing(agreement, column, false);
        let x = canvas.put(column.x, 1, canvas.sign(sign), tone) + 1;
        let inside = (column.x + width).saturating_sub(x + 1);
        canvas.put_in(x, 1, inside, &brief(column.node, room), Tone::Strong);
        let (text, tone) = role(canvas, agreement, column, columns, width - 1);
        canvas.put_in(column.x, 2, width - 1, &text, tone);
        if let Some(member) = agreement.members.get(column.node).filter(|member| member.term > 0) {
            let text = canvas.word(Word::StatusTerm, &[&member.term.to_string()]);
            canvas.put_in(column.x, 3, width - 1, &text, Tone::Dim);
        }
    }
}

/// Draws a member's line through a row.
fn rails(canvas: &mut Canvas<'_>, columns: &[Column<'_>], y: usize) {
    for column in columns {
        canvas.put(column.x, y, canvas.sign(Sign::Rail), Tone::Dim);
    }
}

/// A line from one member's column to another's, which crosses those between; its tip stands in the
/// other's.
fn arrow(
    canvas: &mut Canvas<'_>,
    columns: &[Column<'_>],
    (from, to): (usize, usize),
    line: Sign,
    y: usize,
    tone: Tone,
) {
    for x in from.min(to) + 1..from.max(to) {
        let crosses = columns.iter().any(|column| column.x == x);
        canvas.put_in(x, y, 1, canvas.sign(if crosses { Sign::Cross } else { line }), tone);
    }
    let (begin, tip) = if from < to { (Sign::Fork, Sign::Tip) } else { (Sign::Join, Sign::TipBack) };
    canvas.put(from, y, canvas.sign(begin), tone);
    canvas.put(to, y, canvas.sign(tip), tone);
}

/// Who sends entries to whom, and the links that are cut, a row each; the row behind them. While a
/// lab asks for the cause, no link is called cut.
fn links(canvas: &mut Canvas<'_>, model: &Model, columns: &[Column<'_>], top: usize, label: usize) -> usize {
    let agreement = &model.traffic.agreement;
    let leader = columns.iter().find(|column| agreement.leader() == Some(column.node) && column.up);
    let mut y = top;
    if let Some(leader) = leader {
        let reached = |to: &&Column<'_>| to.up && to.node != leader.node && !agreement.is_down(to.node);
        let reached = columns.iter().filter(reached);
        for to in reached.filter(|to| !agreement.is_cut(leader.node, to.node)).take(LINKS) {
            rails(canvas, columns, y);
            arrow(canvas, columns, (leader.x, to.x), Sign::LineLit, y, Tone::Accent);
            let text = canvas.word(Word::RaftEntries, &[]);
            canvas.put(label, y, &text, Tone::Dim);
            y += 1;
        }
    } else {
        rails(canvas, columns, y);
        // Without a term no record has named a leader, and there may be one.
        if agreement.leader().is_none() && agreement.term() > 0 {
            let text = canvas.word(Word::StatusNoLeader, &[]);
            canvas.put(label, y, &text, Tone::Warn);
        }
        y += 1;
    }
    // A lab that asks for the cause may be about one of them.
    if canvas.asks_cause {
        return y;
    }
    for (at, a) in columns.iter().enumerate() {
        for b in columns.iter().skip(at + 1).filter(|b| agreement.is_cut(a.node, b.node)) {
            if y - top >= LINKS {
                return y;
            }
            cut(canvas, columns, (a.x, b.x), y);
            let text = canvas.word(Word::LinkCut, &[]);
            canvas.put(label, y, &text, Tone::Bad);
            y += 1;
        }
    }
    y
}

/// Draws the link between two members that cannot reach each other.
fn cut(canvas: &mut Canvas<'_>, columns: &[Column<'_>], (left, right): (usize, usize), y: usize) {
    rails(canvas, columns, y);
    let is_member = |x: usize| columns.iter().any(|column| column.x == x);
    for x in left + 1..right {
        let sign = if is_member(x) { Sign::Cross } else { Sign::Dots };
        canvas.put_in(x, y, 1, canvas.sign(sign), Tone::Dim);
    }
    canvas.put(left, y, canvas.sign(Sign::Fork), Tone::Dim);
    canvas.put(right, y, canvas.sign(Sign::Join), Tone::Dim);
    // The sign of the cut stands in the middle of the link, or beside the column of a member there.
    let middle = (left + right) / 2;
    let middle = if is_member(middle) { middle + 2 } else { middle };
    canvas.put(middle, y, canvas.sign(Sign::Cut), Tone::Bad);
}

/// The end of the logs: a row for each entry, with what it changed.
fn log(
    canvas: &mut Canvas<'_>,
    model: &Model,
    columns: &[Column<'_>],
    (top, rows): (usize, usize),
    label: usize,
) {
    let agreement = &model.traffic.agreement;
    let committed = agreement.committed();
    let (log, end) = (canvas.word(Word::RaftLog, &[]), canvas.word(Word::RaftEnd, &[]));
    canvas.put(1, top, &format!("{log}  {end} {committed}"), Tone::Dim);
    let lit = model.traffic.revision();
    // Below the heading; where there is room for it, a row stays empty.
    let room = rows.saturating_sub(1 + usize::from(rows > 6)).max(1);
    for (at, index) in agreement.lines(room).into_iter().enumerate() {
        let y = top + 1 + at;
        let revision = revision_of(model, index);
        if lit.is_some() && revision == lit {
            canvas.put(1, y, canvas.sign(Sign::Pick), Tone::Accent);
        }
        canvas.put(4, y, &index.to_string(), Tone::Plain);
        let mut marks = BTreeSet::new();
        for column in columns {
            let (sign, tone, mark) = match agreement.mark(column.node, index) {
                Some(Mark::Committed) => (Sign::Block, Tone::Good, 0),
                Some(Mark::Stored) => (Sign::Hollow, Tone::Warn, 1),
                Some(Mark::Lost) => (Sign::Unmet, Tone::Bad, 2),
                None => continue,
            };
            marks.insert(mark);
            canvas.put(column.x, y, canvas.sign(sign), tone);
        }
        let (text, tone) = match () {
            () if marks.contains(&2) => (canvas.word(Word::RaftLost, &[]), Tone::Bad),
            () if index > committed => (canvas.word(Word::RaftOpen, &[]), Tone::Warn),
            () => (changed(canvas, model, revision), Tone::Dim),
        };
        canvas.put(label, y, &text, tone);
    }
}

/// The revision that an entry made. `None`: none, or no record of it is kept.
fn revision_of(model: &Model, index: u64) -> Option<u64> {
    model.traffic.written.get(&index)?.revision.filter(|revision| *revision > 0)
}

/// What an entry changed: `rev 860 pods/web2`.
fn changed(canvas: &Canvas<'_>, model: &Model, revision: Option<u64>) -> String {
    let Some(revision) = revision else { return String::new() };
    let short = canvas.word(Word::RevisionShort, &[&revision.to_string()]);
    match object(model, revision) {
        Some(object) => format!("{short} {object}"),
        None => short,
    }
}

/// The object that a revision changed: `pods/web2`.
fn object(model: &Model, revision: u64) -> Option<String> {
    let object = model.traffic.changed.get(&revision)?;
    Some(format!("{}/{}", object.resource, object.name))
}

/// A step of the last election: an arrow from one member to another, or what one of them does.
fn story_row(canvas: &mut Canvas<'_>, step: &StoryStep, columns: &[Column<'_>], y: usize, label: usize) {
    let place = |node: &str| columns.iter().find(|column| column.node == node).map(|column| column.x);
    let term = step.term.to_string();
    let (word, to, line, tone) = match &step.happening {
        Happening::Fault(_) => {
            let (text, tone) = action(canvas, step);
            canvas.put(LEFT, y, &text, tone);
            return;
        }
        Happening::Timeout => (Word::LineTimeout, None, Sign::Line, Tone::Warn),
        Happening::Would(to) => (Word::LineWould, Some(to), Sign::Dots, Tone::Dim),
        Happening::Stands => (Word::LineStands, None, Sign::Line, Tone::Warn),
        Happening::Votes(to) => (Word::LineVotes, Some(to), Sign::Line, Tone::Good),
        Happening::Refuses(to) => (Word::LineRefuses, Some(to), Sign::Dots, Tone::Bad),
        Happening::Leads => (Word::LineLeads, None, Sign::Line, Tone::Strong),
        Happening::StepsDown => (Word::LineDown, None, Sign::Line, Tone::Warn),
        Happening::Hands(to) => (Word::LineHands, Some(to), Sign::Line, Tone::Accent),
    };
    rails(canvas, columns, y);
    let from = place(&step.who);
    match (from, to.map(|to| place(to))) {
        (Some(from), Some(Some(to))) if from != to => arrow(canvas, columns, (from, to), line, y, tone),
        // A member that is no more, or an act without another member.
        (Some(from), _) => {
            let sign = if step.happening == Happening::Leads { Sign::Leader } else { Sign::Stored };
            canvas.put(from, y, canvas.sign(sign), tone);
        }
        (None, _) => {
            let (text, tone) = action(canvas, step);
            canvas.put(label, y, &text, tone);
            return;
        }
    }
    let text = canvas.word(word, &[&term]);
    canvas.put(label, y, &text, tone);
}

/// One member: why it needs no votes, and its log as a table.
fn single(canvas: &mut Canvas<'_>, model: &Model, columns: &[Column<'_>]) {
    let agreement = &model.traffic.agreement;
    if let Some(column) = columns.first() {
        let (sign, tone) = standing(agreement, column, true);
        let x = canvas.put(1, 1, canvas.sign(sign), tone) + 1;
        let x = canvas.put(x, 1, &brief(column.node, 20), Tone::Strong) + 2;
        let leads = agreement.members.get(column.node).is_some_and(|member| member.role == Role::Leader);
        let (text, tone) = match (column.up, leads) {
            (false, _) => (canvas.word(Word::RaftOff, &[]), Tone::Bad),
            (true, true) => (canvas.word(Word::RaftLeads, &[]), Tone::Accent),
            (true, false) => (String::new(), Tone::Dim),
        };
        canvas.put(x, 1, &text, tone);
    }
    let text = canvas.word(Word::RaftSingle, &[]);
    canvas.put(1, 2, &text, Tone::Plain);
    let words = [Word::TermShort, Word::RaftRevision, Word::RaftObject];
    let entry = canvas.word(Word::RaftEntry, &[]);
    canvas.put(3, 4, &entry, Tone::Dim);
    for (x, word) in SINGLE.into_iter().zip(words) {
        let head = canvas.word(word, &[]);
        canvas.put(x, 4, &head, Tone::Dim);
    }
    canvas.put(SINGLE[3], 4, "fsync", Tone::Dim);
    let lit = model.traffic.revision();
    let node = columns.first().map_or("", |column| column.node);
    let log = agreement.members.get(node).map(|member| &member.log);
    for (at, index) in agreement.lines(canvas.height().saturating_sub(5).max(1)).into_iter().enumerate() {
        let y = 5 + at;
        let revision = revision_of(model, index);
        if lit.is_some() && revision == lit {
            canvas.put(1, y, canvas.sign(Sign::Pick), Tone::Accent);
        }
        canvas.put(3, y, &index.to_string(), Tone::Plain);
        let term = log.and_then(|log| log.get(&index)).map_or(String::new(), u64::to_string);
        canvas.put(SINGLE[0], y, &term, Tone::Dim);
        let text = revision.map_or(String::new(), |revision| revision.to_string());
        canvas.put(SINGLE[1], y, &text, Tone::Plain);
        let text = revision.and_then(|revision| object(model, revision)).unwrap_or_default();
        canvas.put_in(SINGLE[2], y, SINGLE[3] - SINGLE[2] - 2, &text, Tone::Plain);
        if let Some(us) = model.traffic.written.get(&index).and_then(|written| written.fsync_us) {
            canvas.put(SINGLE[3], y, &took(us), Tone::Dim);
        }
    }
}

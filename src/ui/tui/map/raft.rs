//! Who agrees? The store's members and the links between them, the end of their logs, and how the
//! last election went.

use super::super::agreement::{Agreement, Happening, Mark, Role, StoryStep};
use super::super::cluster::Stand;
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::{cells, took};
use super::super::words::Word;
use super::canvas::Canvas;
use super::common::{is_roomy, none_of};
use super::hops::short;
use super::raft_wide;
use super::strip::Lines;
use std::cmp::Ordering;

/// Where the members' columns begin, behind the entries' numbers.
pub(super) const LEFT: usize = 12;
/// Between what happened and what happened next.
const GAP: &str = "   ";
/// A column is at least this wide, and at most that.
const COLUMN: std::ops::RangeInclusive<usize> = 8..=26;

/// Returns the store's newest term, and its leader if the term has one. `None`: no record has named
/// a term yet.
pub(crate) fn leader(model: &Model) -> Option<(Option<&str>, u64)> {
    let agreement = &model.traffic.agreement;
    let term = agreement.term();
    (term > 0).then(|| (agreement.leader(), term))
}

/// One member's column.
pub(super) struct Column<'a> {
    pub node: &'a str,
    pub x: usize,
    pub up: bool,
}

/// A name in little room: `cp2` is `ropewalk-control-plane2`.
pub(super) fn brief(name: &str, room: usize) -> String {
    let name = short(name);
    if cells(name) <= room { name.to_string() } else { name.replacen("control-plane", "cp", 1) }
}

/// Returns the members, each in a column of this width.
pub(super) fn columns(model: &Model, width: usize) -> Vec<Column<'_>> {
    let agreement = &model.traffic.agreement;
    // Whether a fault keeps a member down may be what a lab asks for: then its pod tells.
    let is_down = |node: &str| !model.lab.asks_cause() && agreement.is_down(node);
    let members = model.cluster.members().into_iter().enumerate();
    members
        .map(|(at, member)| Column {
            node: &member.node,
            x: LEFT + at * width,
            up: member.stand == Stand::Ready && !is_down(&member.node),
        })
        .collect()
}

/// Says whether the members can still write. There is one answer for several of them: the leader
/// has to reach a majority, itself included. Before a record has named a leader it is not known;
/// then any member that reaches a majority may be it.
///
/// Example: of three members the leader is killed. The other two reach each other, but writes wait
/// until one of them leads.
pub(super) fn writes(agreement: &Agreement, columns: &[Column<'_>]) -> Option<(Word, Tone)> {
    let quorum = columns.len() / 2 + 1;
    let mut up: Vec<&str> = columns.iter().filter(|c| c.up).map(|c| c.node).collect();
    let agree = match agreement.leader() {
        Some(leader) => {
            // It may lead while its pod is not ready, because its kubelet is stopped.
            if !up.contains(&leader) {
                up.push(leader);
            }
            agreement.reaches(leader, &up).count()
        }
        None if agreement.has_led => 0,
        None => up.iter().map(|m| agreement.reaches(m, &up).count()).max().unwrap_or_default(),
    };
    let told = if agree >= quorum { (Word::WritesGoOn, Tone::Good) } else { (Word::WritesWait, Tone::Bad) };
    (columns.len() > 1).then_some(told)
}

/// Term and quorum, in words.
pub(super) fn term_and_quorum(
    canvas: &Canvas<'_>,
    agreement: &Agreement,
    members: usize,
) -> [(String, Tone); 2] {
    let term = match agreement.term() {
        0 => String::new(),
        term => canvas.word(Word::StatusTerm, &[&term.to_string()]),
    };
    let needed = canvas.word(Word::Quorum, &[&(members / 2 + 1).to_string(), &members.to_string()]);
    [(term, Tone::Strong), (needed, Tone::Dim)]
}

/// Returns why no member can be drawn, in words. `None`: their pods are known.
fn unknown(model: &Model) -> Option<String> {
    let is_known = !model.cluster.members().is_empty();
    (!is_known).then(|| none_of(model, "pods", Word::NoMembers))
}

/// Two lines about the store: its members, and what happened last.
pub(super) fn lines(canvas: &Canvas<'_>, model: &Model) -> Lines {
    if let Some(why) = unknown(model) {
        return Lines::none(why);
    }
    let agreement = &model.traffic.agreement;
    let columns = columns(model, *COLUMN.start());
    let mut counts = Vec::from(term_and_quorum(canvas, agreement, columns.len()));
    counts.extend(writes(agreement, &columns).map(|(word, tone)| (canvas.word(word, &[]), tone)));
    let names: Vec<&str> = columns.iter().map(|column| column.node).collect();
    for column in &columns {
        // A lab that asks for the cause may be about this one.
        let is_cut = !canvas.asks_cause && column.up && agreement.is_cut_off(column.node, &names);
        let (sign, tone) = match is_cut {
            true => (Sign::Cut, Tone::Bad),
            false => standing(agreement, column, columns.len() == 1),
        };
        counts.push((format!("{} {}", brief(column.node, 8), canvas.sign(sign)), tone));
    }
    if agreement.committed() == 0 {
        return Lines { counts, ..Lines::none(canvas.word(Word::NoRaft, &[])) };
    }
    let mut news: Vec<(String, Tone)> = Vec::new();
    news.extend(story_of(model).last().map(|step| action(canvas, step)));
    let committed = agreement.committed();
    let text = format!("{} {committed}", canvas.word(Word::RaftEnd, &[]));
    news.push((text, Tone::Plain));
    news.extend(written(canvas, model, committed).map(|text| (text, Tone::Dim)));
    Lines { counts, news }
}

/// Draws the members of the store: who leads, what each log holds, and the last messages.
pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model) {
    if let Some(why) = unknown(model) {
        return canvas.note(1, &why);
    }
    let agreement = &model.traffic.agreement;
    if is_roomy(canvas) && agreement.committed() > 0 {
        return raft_wide::draw(canvas, model);
    }
    let members = model.cluster.members().len().max(1);
    let width = (canvas.width().saturating_sub(LEFT) / members).clamp(*COLUMN.start(), *COLUMN.end());
    let columns = columns(model, width);
    head(canvas, agreement, &columns, width);
    if agreement.committed() == 0 {
        return canvas.note(3, &model.lang.say(Word::NoRaft, &[]));
    }
    let top = if columns.len() > 1 { links(canvas, agreement, &columns, width) } else { 2 };
    let below = canvas.height().saturating_sub(top);
    let story = story(canvas, &story_of(model), if columns.len() > 1 { below / 2 } else { 1 });
    let rows = below.saturating_sub(story + usize::from(story > 0)).max(1);
    log(canvas, model, &columns, top, rows);
}

/// Term, quorum, and the members' names.
fn head(canvas: &mut Canvas<'_>, agreement: &Agreement, columns: &[Column<'_>], width: usize) {
    let [(term, strong), (needed, dim)] = term_and_quorum(canvas, agreement, columns.len());
    let x = canvas.row(1, 0, &[(&term, strong), ("  ", Tone::Plain), (&needed, dim)]);
    if let Some((word, tone)) = writes(agreement, columns) {
        canvas.put(x + 2, 0, &canvas.word(word, &[]), tone);
    }
    for column in columns {
        let at = canvas.put_in(column.x, 1, width - 1, &brief(column.node, width - 2), Tone::Strong);
        if columns.len() == 1 {
            let (sign, tone) = standing(agreement, column, true);
            canvas.put(at + 1, 1, canvas.sign(sign), tone);
        }
    }
}

/// Returns the sign and the tone of a member: down, the leader, or another one.
pub(super) fn standing(agreement: &Agreement, column: &Column<'_>, alone: bool) -> (Sign, Tone) {
    match () {
        () if !column.up => (Sign::Down, Tone::Bad),
        () if alone || agreement.leader() == Some(column.node) => (Sign::Leader, Tone::Accent),
        () => (Sign::Ready, Tone::Plain),
    }
}

/// The members as dots with the links between neighbours, and what each is; the row behind it.
fn links(canvas: &mut Canvas<'_>, agreement: &Agreement, columns: &[Column<'_>], width: usize) -> usize {
    let leader = agreement.leader();
    for (at, column) in columns.iter().enumerate() {
        let (sign, tone) = standing(agreement, column, false);
        canvas.put(column.x, 2, canvas.sign(sign), tone);
        if let Some(next) = columns.get(at + 1) {
            link(canvas, agreement, column, next, leader);
        }
        let (text, tone) = role(canvas, agreement, column, columns, width - 1);
        canvas.put_in(column.x, 3, width - 1, &text, tone);
    }
    // Between those that do not stand side by side.
    let names_cuts = !canvas.asks_cause;
    let far = agreement.cuts.iter().filter(|(a, b)| {
        let place = |node: &String| columns.iter().position(|c| c.node == node);
        names_cuts && place(a).zip(place(b)).is_some_and(|(a, b)| a.abs_diff(b) > 1)
    });
    let far: Vec<String> = far
        .map(|(a, b)| format!("{} {} {}", brief(a, width), canvas.sign(Sign::Cut), brief(b, width)))
        .collect();
    if far.is_empty() {
        return 4;
    }
    canvas.put(LEFT, 4, &far.join("   "), Tone::Bad);
    5
}

/// The line between two neighbours: dim, cut, or lit in the direction of the entries.
fn link(
    canvas: &mut Canvas<'_>,
    agreement: &Agreement,
    a: &Column<'_>,
    b: &Column<'_>,
    leader: Option<&str>,
) {
    let (from, room) = (a.x + 2, (b.x - a.x).saturating_sub(3));
    let plain = canvas.sign(Sign::Line).repeat(room);
    let is_down = |column: &Column<'_>| !column.up || agreement.is_down(column.node);
    if agreement.is_cut(a.node, b.node) || is_down(a) || is_down(b) {
        canvas.put(from, 2, &plain, Tone::Dim);
        // A lab that asks for the cause may be about this one.
        if !canvas.asks_cause && !is_down(a) && !is_down(b) {
            canvas.put(from + room / 2, 2, canvas.sign(Sign::Cut), Tone::Bad);
        }
        return;
    }
    // Entries go from the leader to the others.
    let lit = canvas.sign(Sign::LineLit).repeat(room.saturating_sub(1));
    match leader {
        Some(node) if node == a.node => {
            canvas.put(from, 2, &format!("{lit}{}", canvas.sign(Sign::Pick)), Tone::Accent);
        }
        Some(node) if node == b.node => {
            canvas.put(from, 2, &format!("{}{lit}", canvas.sign(Sign::Back)), Tone::Accent);
        }
        _ => {
            canvas.put(from, 2, &plain, Tone::Dim);
        }
    }
}

/// Returns what a member is, in a word or two.
pub(super) fn role(
    canvas: &Canvas<'_>,
    agreement: &Agreement,
    column: &Column<'_>,
    all: &[Column<'_>],
    room: usize,
) -> (String, Tone) {
    let names: Vec<&str> = all.iter().map(|c| c.node).collect();
    let member = agreement.members.get(column.node);
    if !column.up {
        return (canvas.word(Word::RaftOff, &[]), Tone::Bad);
    }
    // While a lab asks for the cause, only what the member itself reported.
    if !canvas.asks_cause && agreement.reaches(column.node, &names).count() == 1 {
        let word = if agreement.is_cut_off(column.node, &names) { Word::RaftCut } else { Word::RaftAlone };
        return (canvas.word(word, &[]), Tone::Bad);
    }
    match member.map_or(Role::Follower, |m| m.role) {
        Role::Leader if agreement.leader() != Some(column.node) => {
            let term = member.map_or(0, |m| m.term).to_string();
            (canvas.word(Word::RaftOld, &[&term]), Tone::Warn)
        }
        Role::Leader => {
            let votes = agreement.votes(column.node);
            let told = canvas.word(Word::RaftVotes, &[&votes.to_string(), &all.len().to_string()]);
            // Its election may be older than the oldest record that is kept.
            let whole = votes > 0 && cells(&told) <= room;
            (if whole { told } else { canvas.word(Word::RaftLeads, &[]) }, Tone::Accent)
        }
        Role::Candidate => (canvas.word(Word::RaftAsks, &[]), Tone::Warn),
        Role::Follower => (canvas.word(Word::RaftFollows, &[]), Tone::Dim),
    }
}

/// The end of the logs, a line for an entry.
fn log(canvas: &mut Canvas<'_>, model: &Model, columns: &[Column<'_>], top: usize, rows: usize) {
    let agreement = &model.traffic.agreement;
    // A column between the word and the indexes is for signs.
    let x = canvas.put(1, top, &model.lang.say(Word::RaftLog, &[]), Tone::Dim) + 1;
    let committed = agreement.committed();
    // The entry that the play head has come to.
    let lit = model.traffic.revision();
    let revision = |index: u64| model.traffic.written.get(&index).and_then(|written| written.revision);
    let mut before = None;
    for (at, index) in agreement.lines(rows).into_iter().enumerate() {
        let y = top + at;
        if before.is_some_and(|b| b + 1 < index) {
            // Entries between these two are not shown.
            canvas.put(x - 1, y, canvas.sign(Sign::Watch), Tone::Dim);
        }
        before = Some(index);
        canvas.put(x, y, &index.to_string(), Tone::Plain);
        if lit.is_some() && revision(index) == lit {
            canvas.put(x - 1, y, canvas.sign(Sign::Pick), Tone::Accent);
        }
        let mut end = 0;
        for column in columns {
            let (sign, tone) = match agreement.mark(column.node, index) {
                Some(Mark::Committed) => (Sign::Block, Tone::Good),
                Some(Mark::Stored) => (Sign::Hollow, Tone::Warn),
                Some(Mark::Lost) => (Sign::Unmet, Tone::Bad),
                None => continue,
            };
            end = canvas.put(column.x, y, canvas.sign(sign), tone);
            if (sign, columns.len() > 1) == (Sign::Unmet, true) {
                end = canvas.put(end + 1, y, &canvas.word(Word::RaftLost, &[]), Tone::Bad);
            }
        }
        match columns {
            [_] => {
                if let Some(text) = written(canvas, model, index) {
                    canvas.put(LEFT + 3, y, &text, Tone::Dim);
                }
            }
            _ => {
                let word = match index.cmp(&committed) {
                    Ordering::Less => continue,
                    Ordering::Equal => Word::RaftEnd,
                    Ordering::Greater => Word::RaftOpen,
                };
                let text = format!("{} {}", canvas.sign(Sign::Back), canvas.word(word, &[]));
                canvas.put(end + 2, y, &text, Tone::Dim);
            }
        }
    }
}

/// Returns the revision that an entry made, and how long the disk took if that is known.
fn written(canvas: &Canvas<'_>, model: &Model, index: u64) -> Option<String> {
    let written = model.traffic.written.get(&index)?;
    let revision = written.revision.filter(|r| *r > 0);
    let revision = revision.map_or(String::new(), |r| canvas.word(Word::RevisionShort, &[&r.to_string()]));
    let fsync = written.fsync_us.map_or(String::new(), |us| format!("  fsync {}", took(us)));
    Some(revision + &fsync).filter(|text| !text.is_empty())
}

/// Returns what happened around the last election. Without faults while a lab asks for the cause.
pub(super) fn story_of(model: &Model) -> Vec<&StoryStep> {
    let hides_faults = model.lab.asks_cause();
    let is_fault = |step: &StoryStep| matches!(step.happening, Happening::Fault(_));
    model.traffic.agreement.story.iter().filter(|step| !hides_faults || !is_fault(step)).collect()
}

/// The last election, step by step, at the lower edge; how many rows it takes.
fn story(canvas: &mut Canvas<'_>, all: &[&StoryStep], rows: usize) -> usize {
    let Some(first) = all.first() else { return 0 };
    let room = canvas.width().saturating_sub(2);
    // What happened stays in one piece: a line takes as many as fit.
    let mut lines: Vec<Vec<(String, String, Tone)>> = Vec::new();
    let mut used = room;
    for step in all {
        let since = step.at.duration_since(first.at).as_secs_f64().max(0.0);
        let (text, tone) = action(canvas, step);
        let (since, wide) = (format!("{since:.2} s "), cells(&text) + GAP.len());
        let wide = wide + cells(&since);
        match lines.last_mut() {
            Some(line) if used + wide <= room => line.push((since, text, tone)),
            _ => {
                lines.push(vec![(since, text, tone)]);
                used = 0;
            }
        }
        used += wide;
    }
    let shown = lines.len().min(rows);
    let top = canvas.height().saturating_sub(shown);
    let hidden = lines.len() - shown;
    for (at, line) in lines.iter().skip(hidden).enumerate() {
        let mut x = 1;
        for (since, text, tone) in line {
            x = canvas.row(x, top + at, &[(since, Tone::Dim), (text, *tone), (GAP, Tone::Plain)]);
        }
    }
    shown
}

/// Returns what a member reported of itself, or what a fault was, in words.
pub(super) fn action(canvas: &Canvas<'_>, step: &StoryStep) -> (String, Tone) {
    let term = step.term.to_string();
    let who = brief(&step.who, 8);
    let with = |word: Word, other: &str| canvas.word(word, &[&who, &brief(other, 8)]);
    match &step.happening {
        Happening::Fault(words) => {
            let words: Vec<String> = words.split(' ').map(|word| brief(word, 8)).collect();
            (words.join(" "), Tone::Bad)
        }
        Happening::Timeout => (with(Word::StoryTimeout, ""), Tone::Warn),
        Happening::Would(to) => (with(Word::StoryWould, to), Tone::Dim),
        Happening::Stands => (canvas.word(Word::StoryStands, &[&who, &term]), Tone::Warn),
        Happening::Votes(to) => (with(Word::StoryVotes, to), Tone::Good),
        Happening::Refuses(to) => (with(Word::StoryRefuses, to), Tone::Dim),
        Happening::Leads => (canvas.word(Word::StoryLeads, &[&who, &term]), Tone::Strong),
        Happening::StepsDown => (with(Word::StoryDown, ""), Tone::Warn),
        Happening::Hands(to) => (with(Word::StoryHands, to), Tone::Accent),
    }
}

//! Over the panes: the commands of a text, of which one is put on the line of the shell, its terms,
//! of which one is explained, and the cluster that a lesson declares.

use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::shown;
use super::super::text::{Piece, wrap};
use super::super::words::Word;
use super::boxes::{boxed, over};
use super::overlay::canvas;
use crate::beside;
use crate::lesson::tag;
use crate::texts::Say;
use crate::tui::layout::inside;
use lab::format::Term;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// Columns of the box.
const WIDTH: u16 = 76;
/// Cells of the box that are no text: its border, and a cell beside it, on both sides.
const EDGES: usize = 4;
/// Entries of a list that are shown at once.
const LISTED: usize = 8;

/// A list with a mark, of which a part around the mark is shown: in so many rows from the top.
fn list(model: &Model, names: &[String], at: usize, place: Rect, rows: usize, buffer: &mut Buffer) {
    let first = (at + 1).saturating_sub(rows);
    let mut canvas = canvas(model, inside(place), buffer);
    for (y, (n, name)) in names.iter().enumerate().skip(first).take(rows).enumerate() {
        let mark = if n == at { canvas.sign(Sign::Pick) } else { " " };
        let tone = if n == at { Tone::Lit } else { Tone::Plain };
        canvas.put(1, y, &format!("{mark} {name}"), tone);
    }
}

/// Draws the choice of a command of the text; the one at `at` is marked.
pub(super) fn commands(model: &Model, at: usize, area: Rect, buffer: &mut Buffer) {
    // Of a block its first line, and how many there are.
    let name = |command: &String| match command.lines().count() {
        0 | 1 => command.clone(),
        lines => {
            let lines = model.lang.say(Word::CommandLines, &[&lines.to_string()]);
            format!("{lines} {}", command.lines().next().unwrap_or_default())
        }
    };
    let names: Vec<String> = shown::commands(model).iter().map(name).collect();
    let place = over(area, WIDTH, names.len().clamp(1, LISTED) as u16 + 4, buffer);
    boxed(model.look, place, true, &model.lang.say(Word::CommandsTitle, &[]), ("", Tone::Dim), buffer);
    let rows = usize::from(inside(place).height).saturating_sub(2).max(1);
    list(model, &names, at.min(names.len().saturating_sub(1)), place, rows, buffer);
    let mut canvas = canvas(model, inside(place), buffer);
    let (last, hint) = (canvas.height().saturating_sub(1), canvas.word(Word::CommandsHint, &[]));
    canvas.put(1, last, &hint, Tone::Dim);
}

/// What a term means, in lines of at most `room` cells.
fn term_lines(model: &Model, term: &Term, room: usize) -> Vec<String> {
    let tag = tag(model.lang);
    let see: Vec<&str> =
        term.see.iter().filter_map(|id| model.glossary.get(id)).map(|other| other.name.get(tag)).collect();
    let rows = [
        (Say::WhatLesson, term.lesson.clone()),
        (Say::Try, term.attempt.clone()),
        (Say::WhatSee, (!see.is_empty()).then(|| see.join(", "))),
    ];
    let rows = rows
        .into_iter()
        .filter_map(|(label, value)| value.map(|value| format!("{}: {value}", model.lang.say(label, &[]))));
    let paragraphs = std::iter::once(term.say.get(tag).to_string()).chain(rows);
    let lines = paragraphs.flat_map(|text| wrap(&[Piece::new(text, Style::new())], room, "", ""));
    lines.map(|line| line.to_string()).collect()
}

/// Draws the terms of the text, and explains the one at `at`.
pub(super) fn terms(model: &Model, at: usize, area: Rect, buffer: &mut Buffer) {
    let (terms, tag) = (shown::terms(model), tag(model.lang));
    let at = at.min(terms.len().saturating_sub(1));
    let room = usize::from(WIDTH.min(area.width)).saturating_sub(EDGES);
    // As high as the longest of them needs: the box stays where it is while the mark moves.
    let explained: Vec<Vec<String>> = terms.iter().map(|term| term_lines(model, term, room)).collect();
    let longest = explained.iter().map(Vec::len).max().unwrap_or_default();
    let listed = terms.len().clamp(1, LISTED);
    let place = over(area, WIDTH, (listed + longest) as u16 + 5, buffer);
    boxed(model.look, place, true, &model.lang.say(Word::TermsTitle, &[]), ("", Tone::Dim), buffer);
    // On a low screen the list is shorter: the explanation matters more.
    let height = usize::from(inside(place).height);
    let rows = height.saturating_sub(longest + 3).clamp(1, listed);
    let name = |term: &&Term| match (term.name.get(tag), term.name.get("en")) {
        (own, english) if own == english => own.to_string(),
        (own, english) => format!("{own} ({english})"),
    };
    let names: Vec<String> = terms.iter().map(name).collect();
    list(model, &names, at, place, rows, buffer);
    let mut canvas = canvas(model, inside(place), buffer);
    let last = canvas.height().saturating_sub(1);
    for (y, line) in
        explained.get(at).into_iter().flatten().enumerate().take_while(|(y, _)| rows + 1 + y < last)
    {
        canvas.put(1, rows + 1 + y, line, Tone::Plain);
    }
    let hint = canvas.word(Word::TermsHint, &[]);
    canvas.put(1, last, &hint, Tone::Dim);
}

/// Asks whether the cluster of a lesson or lab is to be started, and says what it costs.
pub(super) fn beside(model: &Model, area: Rect, buffer: &mut Buffer) {
    let Some(offer) = &model.offer else { return };
    let text = beside::offer(model.lang, &offer.there, offer.megabytes, &model.name);
    let room = usize::from(WIDTH.min(area.width)).saturating_sub(EDGES);
    let lines = wrap(&[Piece::new(&text, Style::new())], room, "", "");
    let place = over(area, WIDTH, lines.len() as u16 + 4, buffer);
    boxed(model.look, place, true, &model.lang.say(Word::BesideTitle, &[]), ("", Tone::Dim), buffer);
    let mut canvas = canvas(model, inside(place), buffer);
    let (last, hint) = (canvas.height().saturating_sub(1), canvas.word(Word::BesideHint, &[]));
    for (y, line) in lines.iter().enumerate().take_while(|(y, _)| *y < last) {
        canvas.put(1, y, &line.to_string(), Tone::Plain);
    }
    canvas.put(1, last, &hint, Tone::Lit);
}

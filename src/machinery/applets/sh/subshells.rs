//! `( (…) )`. Two brackets with a blank between them are two subshells (POSIX 2.3 and 2.9.4.1), but
//! the parser takes them for the `((…))` of bash.
//!
//! And `for x in; do`. A list without words has no turns (POSIX 2.9.4.2), but the parser makes the
//! same tree of it as of `for x; do`, which goes through the arguments.

use brush_parser::SourceSpan;
use brush_parser::ast::{AndOr, AndOrList, Command, CompoundCommand, CompoundList, Pipeline, Program};

/// A word that expands to no field: `$0` is always set.
const NO_WORD: &str = " ${0+}";

/// A command that the parser may have misread.
enum Found {
    Arithmetic(SourceSpan),
    /// A `for` without words.
    Loop(SourceSpan),
}

/// Returns the text with a `;` before the last bracket of each `( (…) )` that the parser took for
/// arithmetic, so that it takes it for subshells, and with [`NO_WORD`] in each `for x in;`. `None`
/// if there is neither.
pub(super) fn disambiguated(text: &str, program: &Program) -> Option<String> {
    if !has_brackets_apart(text) && !may_have_empty_list(text) {
        return None;
    }
    let mut found = Vec::new();
    program.complete_commands.iter().for_each(|list| in_list(list, &mut found));
    let chars: Vec<char> = text.chars().collect();
    let place = |found: &Found| match found {
        Found::Arithmetic(span) => last_bracket(&chars, span).map(|at| (at, ";")),
        Found::Loop(span) => behind_empty_in(&chars, span).map(|at| (at, NO_WORD)),
    };
    let mut places: Vec<(usize, &str)> = found.iter().filter_map(place).collect();
    places.sort_unstable();
    let mut changed = String::with_capacity(text.len() + NO_WORD.len() * places.len());
    for (at, c) in chars.iter().enumerate() {
        if let Ok(place) = places.binary_search_by_key(&at, |(at, _)| *at) {
            changed.push_str(places[place].1);
        }
        changed.push(*c);
    }
    (!places.is_empty()).then_some(changed)
}

/// Returns whether an `in` ends its line or its command.
fn may_have_empty_list(text: &str) -> bool {
    text.match_indices("in")
        .any(|(at, _)| text[at + 2..].trim_start_matches([' ', '\t', '\\']).starts_with([';', '\n', '#']))
}

/// Returns where the `in` of `for NAME in` ends; `None` if the loop has no `in`, or words behind
/// it.
fn behind_empty_in(text: &[char], span: &SourceSpan) -> Option<usize> {
    // A continued line before the command is counted as its beginning.
    let at = behind_word(text, behind_blanks(text, span.start.index, true), "for")?;
    let name = behind_blanks(text, at, false);
    let length = text[name..].iter().take_while(|c| **c == '_' || c.is_ascii_alphanumeric()).count();
    let end = behind_word(text, behind_blanks(text, name + length, true), "in")?;
    let next = text.get(behind_blanks(text, end, false))?;
    matches!(next, ';' | '\n' | '#').then_some(end)
}

/// Returns where the word ends that stands at a place; `None` if there is another one. A place that
/// is returned is inside of the text: a loop goes on behind its `in`.
fn behind_word(text: &[char], at: usize, word: &str) -> Option<usize> {
    let end = at + word.len();
    let is_there = text.get(at..end)?.iter().copied().eq(word.chars());
    let next = *text.get(end)?;
    (is_there && (next.is_whitespace() || matches!(next, ';' | '\\'))).then_some(end)
}

/// Returns the place behind blanks and joined lines, with `lines` behind newlines and comments too.
fn behind_blanks(text: &[char], mut at: usize, lines: bool) -> usize {
    loop {
        at += match (text.get(at), text.get(at + 1)) {
            (Some(' ' | '\t'), _) => 1,
            (Some('\\'), Some('\n')) => 2,
            (Some('\n'), _) if lines => 1,
            (Some('#'), _) if lines => text[at..].iter().take_while(|c| **c != '\n').count(),
            _ => return at.min(text.len()),
        };
    }
}

/// Returns whether two brackets stand beside each other with blanks between them. A backslash
/// before the end of a line counts as a blank.
fn has_brackets_apart(text: &str) -> bool {
    let same = |bracket: char| {
        text.match_indices(bracket).any(|(at, _)| {
            let behind = &text[at + 1..];
            let next = behind.trim_start_matches([' ', '\t', '\\', '\n']);
            next.len() < behind.len() && next.starts_with(bracket)
        })
    };
    same('(') || same(')')
}

/// Returns where the last bracket of a command is whose brackets do not touch; `None` if they do.
fn last_bracket(text: &[char], span: &SourceSpan) -> Option<usize> {
    let last = span.end.index.checked_sub(1).filter(|at| text.get(*at) == Some(&')'))?;
    // A continued line before the command is counted as its beginning.
    let first = (span.start.index..last).find(|at| text[*at] == '(')?;
    let touch = text.get(first + 1) == Some(&'(') && text.get(last - 1) == Some(&')');
    (!touch).then_some(last)
}

fn in_list(list: &CompoundList, found: &mut Vec<Found>) {
    for item in &list.0 {
        in_and_or(&item.0, found);
    }
}

fn in_and_or(list: &AndOrList, found: &mut Vec<Found>) {
    in_pipeline(&list.first, found);
    for next in &list.additional {
        let (AndOr::And(pipeline) | AndOr::Or(pipeline)) = next;
        in_pipeline(pipeline, found);
    }
}

fn in_pipeline(pipeline: &Pipeline, found: &mut Vec<Found>) {
    for command in &pipeline.seq {
        match command {
            Command::Compound(command, _) => in_compound(command, found),
            Command::Function(function) => in_compound(&function.body.0, found),
            Command::Simple(_) | Command::ExtendedTest(..) => {}
        }
    }
}

fn in_compound(command: &CompoundCommand, found: &mut Vec<Found>) {
    match command {
        CompoundCommand::Arithmetic(arithmetic) => found.push(Found::Arithmetic(arithmetic.loc.clone())),
        CompoundCommand::BraceGroup(group) => in_list(&group.list, found),
        CompoundCommand::Subshell(inner) => in_list(&inner.list, found),
        CompoundCommand::ForClause(clause) => {
            if clause.values.is_none() {
                found.push(Found::Loop(clause.loc.clone()));
            }
            in_list(&clause.body.list, found);
        }
        CompoundCommand::CaseClause(clause) => {
            clause.cases.iter().flat_map(|item| &item.cmd).for_each(|list| in_list(list, found));
        }
        CompoundCommand::IfClause(clause) => {
            in_list(&clause.condition, found);
            in_list(&clause.then, found);
            for branch in clause.elses.iter().flatten() {
                branch.condition.iter().for_each(|list| in_list(list, found));
                in_list(&branch.body, found);
            }
        }
        CompoundCommand::WhileClause(clause) | CompoundCommand::UntilClause(clause) => {
            in_list(&clause.0, found);
            in_list(&clause.1.list, found);
        }
        CompoundCommand::ArithmeticForClause(_) | CompoundCommand::Coprocess(_) => {}
    }
}

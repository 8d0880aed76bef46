//! `( (…) )`. Two brackets with a blank between them are two subshells (POSIX 2.3 and 2.9.4.1), but
//! the parser takes them for the `((…))` of bash.

use brush_parser::SourceSpan;
use brush_parser::ast::{AndOr, AndOrList, Command, CompoundCommand, CompoundList, Pipeline, Program};

/// Returns the text with a `;` before the last bracket of each `( (…) )` that the parser took for
/// arithmetic, so that it takes it for subshells. `None` if there is none.
pub(super) fn told_apart(text: &str, program: &Program) -> Option<String> {
    if !has_brackets_apart(text) {
        return None;
    }
    let mut found = Vec::new();
    program.complete_commands.iter().for_each(|list| in_list(list, &mut found));
    let chars: Vec<char> = text.chars().collect();
    let mut places: Vec<usize> = found.iter().filter_map(|span| last_bracket(&chars, span)).collect();
    places.sort_unstable();
    let mut changed = String::with_capacity(text.len() + places.len());
    for (at, c) in chars.iter().enumerate() {
        if places.binary_search(&at).is_ok() {
            changed.push(';');
        }
        changed.push(*c);
    }
    (!places.is_empty()).then_some(changed)
}

/// Whether two brackets stand beside each other with blanks between them. A backslash before the
/// end of a line counts as a blank.
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

/// Where the last bracket of a command is whose brackets do not touch; `None` if they do.
fn last_bracket(text: &[char], span: &SourceSpan) -> Option<usize> {
    let last = span.end.index.checked_sub(1).filter(|at| text.get(*at) == Some(&')'))?;
    // A continued line before the command is counted as its beginning.
    let first = (span.start.index..last).find(|at| text[*at] == '(')?;
    let touch = text.get(first + 1) == Some(&'(') && text.get(last - 1) == Some(&')');
    (!touch).then_some(last)
}

fn in_list(list: &CompoundList, found: &mut Vec<SourceSpan>) {
    for item in &list.0 {
        in_and_or(&item.0, found);
    }
}

fn in_and_or(list: &AndOrList, found: &mut Vec<SourceSpan>) {
    in_pipeline(&list.first, found);
    for next in &list.additional {
        let (AndOr::And(pipeline) | AndOr::Or(pipeline)) = next;
        in_pipeline(pipeline, found);
    }
}

fn in_pipeline(pipeline: &Pipeline, found: &mut Vec<SourceSpan>) {
    for command in &pipeline.seq {
        match command {
            Command::Compound(command, _) => in_compound(command, found),
            Command::Function(function) => in_compound(&function.body.0, found),
            Command::Simple(_) | Command::ExtendedTest(..) => {}
        }
    }
}

fn in_compound(command: &CompoundCommand, found: &mut Vec<SourceSpan>) {
    match command {
        CompoundCommand::Arithmetic(arithmetic) => found.push(arithmetic.loc.clone()),
        CompoundCommand::BraceGroup(group) => in_list(&group.list, found),
        CompoundCommand::Subshell(inner) => in_list(&inner.list, found),
        CompoundCommand::ForClause(clause) => in_list(&clause.body.list, found),
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

//! Which part of a check is not so, for the author of a lab whose solution fails.

use super::world::{Frame, World};
use crate::cel::{Expr, Facts, Use};
use std::sync::Arc;

/// The parts of a check that do not hold, in order, as they stand in the file; those that cannot be
/// told are marked. A part is what stands between two `&&` that are not in brackets.
pub(super) fn unmet(world: &Arc<World>, expr: &Expr, frame: &Frame) -> Vec<String> {
    let Some(facts) = Arc::into_inner(world.facts(frame)) else { return Vec::new() };
    // What is found out of expressions that nobody asks again is not to be remembered.
    let facts = Arc::new(Facts { memo: Arc::default(), ..facts });
    let compiled = |part: &str| Expr::compile(part, Use::Check, &[]).ok();
    parts(&expr.source)
        .into_iter()
        .filter_map(|part| match compiled(part)?.truth(&facts) {
            Some(true) => None,
            Some(false) => Some(part.to_string()),
            None => Some(format!("{part} (not known)")),
        })
        .collect()
}

/// Example: `a && f(b && c) && "x && y" == d` has three.
fn parts(source: &str) -> Vec<&str> {
    let (mut depth, mut quote, mut from, mut out) = (0_usize, None, 0, Vec::new());
    let mut signs = source.char_indices().peekable();
    while let Some((at, sign)) = signs.next() {
        let next = signs.peek().map(|(_, c)| *c);
        match (quote, sign) {
            (Some(_), '\\') => drop(signs.next()),
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(sign),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            // These bind less than `&&`: what stands beside it is no part.
            (None, '?') if depth == 0 => return vec![source],
            (None, '|') if depth == 0 => return vec![source],
            (None, '&') if depth == 0 && next == Some('&') => {
                out.push(source[from..at].trim());
                from = at + 2;
                signs.next();
            }
            _ => {}
        }
    }
    out.push(source[from..].trim());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_has_the_parts_between_its_outer_conjunctions() {
        assert_eq!(
            parts("a && f(b && c) && \"x && \\\" y\" == d"),
            ["a", "f(b && c)", "\"x && \\\" y\" == d"]
        );
        assert_eq!(parts("a && (b || c)"), ["a", "(b || c)"]);
        assert_eq!(parts("a && b || c"), ["a && b || c"]);
        assert_eq!(parts("x ? a && b : c"), ["x ? a && b : c"]);
        assert_eq!(parts("한글 == '&&' && b"), ["한글 == '&&'", "b"]);
    }
}

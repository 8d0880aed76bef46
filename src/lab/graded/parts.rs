//! Which part of a check is not so, for the author of a lab whose solution fails.

use super::world::{Frame, World};
use crate::cel::{Error, Expr, Facts, Use};
use std::sync::Arc;

/// The parts of a check that do not hold, in order, as they stand in the file; those that cannot be
/// told are marked. A part is what stands between two `&&` that are not in brackets.
pub(super) fn unmet(world: &Arc<World>, expr: &Expr, frame: &Frame) -> Vec<String> {
    let Some(facts) = Arc::into_inner(world.facts(frame)) else { return Vec::new() };
    // What is found out of expressions that are asked once is not to be remembered.
    let facts = Arc::new(Facts { memo: Arc::default(), ..facts });
    unmet_among(&expr.source, |part| Expr::compile(part, Use::Check, &[]).map(|part| part.truth(&facts)))
}

/// As [`unmet`]. `truth` tells whether a part is so. An error means that a part is no expression by
/// itself. Then the whole check is returned, because a list without that part would mislead.
fn unmet_among(source: &str, truth: impl Fn(&str) -> Result<Option<bool>, Error>) -> Vec<String> {
    let parts = parts(source);
    let truths: Result<Vec<Option<bool>>, Error> = parts.iter().map(|part| truth(part)).collect();
    let Ok(truths) = truths else { return vec![source.trim().to_string()] };
    let marked = |(part, truth): (&str, Option<bool>)| match truth {
        Some(true) => None,
        Some(false) => Some(part.to_string()),
        None => Some(format!("{part} (not known)")),
    };
    parts.into_iter().zip(truths).filter_map(marked).collect()
}

/// Example: `a && f(b && c) && "x && y" == d` has three.
fn parts(source: &str) -> Vec<&str> {
    let (mut depth, mut from, mut out) = (0_usize, 0, Vec::new());
    for next in api::cel::tokens(source) {
        let Ok((at, token)) = next else { return vec![source.trim()] };
        match token {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            // These bind less than `&&`: what stands beside it is no part.
            "?" | "||" if depth == 0 => return vec![source.trim()],
            "&&" if depth == 0 => {
                out.push(source[from..at].trim());
                from = at + token.len();
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
        assert_eq!(parts("'한글 &&' == a && b"), ["'한글 &&' == a", "b"]);
    }

    /// In a raw string a backslash is no escape, and a string of three quotes ends with three.
    #[test]
    fn no_form_of_a_string_hides_a_conjunction_or_makes_one() {
        for (first, second) in [
            (r"a == r'\'", "b == '&&'"),
            (r#"a == R"\""#, r#"b == "&&""#),
            (r#"a == """x" && "y""""#, "b"),
            (r#"a == '''it's && (''' + "'""#, "b"),
            (r"a == b'&&' + br'\'", r"b == bR'\'"),
            (r#"a == r'''\''' + r"""&& ["\""""#, "b"),
            ("a // (&& '\n", "b"),
        ] {
            let source = format!(" {first} && {second} ");
            assert_eq!(parts(&source), [first.trim(), second], "{source}");
        }
    }

    #[test]
    fn parts_that_hold_are_left_out_and_no_other_ones() {
        let truth = |part: &str| match part {
            "so" => Ok(Some(true)),
            "not" => Ok(Some(false)),
            "open" => Ok(None),
            no => Err(Error::Syntax(no.into())),
        };
        assert_eq!(unmet_among("so && not && open", truth), ["not", "open (not known)"]);
        assert_eq!(unmet_among(" not && half ", truth), ["not && half"], "`half` cannot be asked by itself");
        assert_eq!(unmet_among("half && so", truth), ["half && so"]);
    }
}

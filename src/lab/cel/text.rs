//! Texts with `${…}` in them.

use super::define::Defines;
use super::error::Error;
use super::expr::Expr;
use super::facts::Facts;
use super::language::Use;
use super::value;
use super::words::Meaning;
use cel::Value;
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Expr(Box<Expr>),
}

/// Expressions of one text, at most: each has a limit of its own, and all of them are evaluated.
const EXPRS_MAX: usize = 30;

/// A text with expressions in it, compiled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Template(Vec<Part>);

impl Template {
    /// Compiles a text; `bound` are further names that its expressions may use.
    ///
    /// # Errors
    /// An expression does not end or does not compile.
    pub(crate) fn compile(text: &str, place: Use, bound: &[(&str, Meaning)]) -> Result<Template, Error> {
        Template::compile_with(text, place, bound, &Defines::default())
    }

    /// Compiles a text whose expressions may use defined names.
    ///
    /// # Errors
    /// An expression does not end or does not compile, or there are too many.
    pub(crate) fn compile_with(
        text: &str,
        place: Use,
        bound: &[(&str, Meaning)],
        defines: &Defines,
    ) -> Result<Template, Error> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(start) = rest.find("${") {
            let inside = &rest[start + 2..];
            let end = closing(inside)
                .ok_or_else(|| Error::Syntax(format!("`${{` without its `}}` in {text:?}")))?;
            // A text stands before each expression.
            if parts.len() >= 2 * EXPRS_MAX {
                return Err(Error::Syntax(format!("a text has at most {EXPRS_MAX} expressions")));
            }
            parts.push(Part::Text(rest[..start].into()));
            parts.push(Part::Expr(Box::new(Expr::compile_with(&inside[..end], place, bound, defines)?)));
            rest = &inside[end + 1..];
        }
        parts.push(Part::Text(rest.into()));
        Ok(Template(parts))
    }

    /// The expressions of the text, in their order.
    pub(crate) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.0.iter().filter_map(|p| match p {
            Part::Expr(e) => Some(e.as_ref()),
            Part::Text(_) => None,
        })
    }

    /// The text, with each expression replaced by its value as [`value::show`] writes it.
    ///
    /// # Errors
    /// Why the first expression that fails has no value.
    pub(crate) fn render(&self, facts: &Arc<Facts>, bound: &[(&str, Value)]) -> Result<String, String> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Expr(expr) => out.push_str(&value::show(&expr.value(facts, bound)?)),
            }
        }
        Ok(out)
    }
}

/// Where the `}` is that closes an expression: braces and quotes inside it are its own.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0usize, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(q), _) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(at),
            (None, '}') => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_they_are_named() {
        let facts = Arc::new(Facts { since_step: 7, ..Facts::default() });
        let render = |text: &str| {
            Template::compile(text, Use::Hint, &[("c", Meaning::default())])
                .unwrap()
                .render(&facts, &[("c", value::text("x"))])
        };
        assert_eq!(render("a ${since_step}번 ${c + \"}\"} z").as_deref(), Ok("a 7번 x} z"));
        assert_eq!(render("${{'k': 'v'}.k}").as_deref(), Ok("v"));
        assert_eq!(render("none").as_deref(), Ok("none"));
        assert!(render("${c.field}").is_err());
        assert!(Template::compile("${c", Use::Hint, &[("c", Meaning::default())]).is_err());
        let many = |count: usize| Template::compile(&"${1} ".repeat(count), Use::Hint, &[]);
        assert_eq!(many(EXPRS_MAX).unwrap().exprs().count(), EXPRS_MAX);
        assert!(many(EXPRS_MAX + 1).unwrap_err().to_string().contains("at most 30 expressions"));
    }
}

//! Errors that a check finds in a compiled expression, and their places in its text.

use super::terms::Term;
use cel::IdedExpr;

/// What is wrong with an expression, and the node that it is about.
#[derive(Debug)]
pub(crate) struct Fault {
    why: String,
    node: Option<u64>,
}

impl Fault {
    pub(crate) fn new(why: impl std::fmt::Display) -> Fault {
        Fault { why: why.to_string(), node: None }
    }

    /// Says that the fault is within this node, unless a node inside of it is known already.
    pub(crate) fn within(self, node: &IdedExpr) -> Fault {
        Fault { node: self.node.or(Some(node.id)), ..self }
    }

    /// Returns the text of the fault with its line and column, as `cel-go` has it.
    ///
    /// Example: `ERROR: <input>:2:2: undeclared reference to 'objekt' …` of `object.a ==\n objekt`.
    pub(crate) fn text(&self, term: &Term) -> String {
        let source_info = term.program.source_info();
        let start = self.node.and_then(|node| source_info.offset_for(node)).map(|(start, _)| start as usize);
        match start.and_then(|start| place(&source_info.source, start)) {
            Some((line, column)) => format!("ERROR: <input>:{line}:{column}: {}", self.why),
            None => format!("ERROR: <input>: {}", self.why),
        }
    }
}

/// Returns line and column of the letter at this index, both counted from 1. `None` for a text with
/// letters beyond ASCII, in which the parser's index may be one of bytes or of letters.
fn place(source: &str, start: usize) -> Option<(usize, usize)> {
    let before = source.get(..start).filter(|_| source.is_ascii())?;
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().len() + 1;
    Some((line, column))
}

#[cfg(test)]
mod tests {
    use super::super::terms::compile;
    use super::*;

    #[test]
    fn a_fault_has_the_place_of_the_innermost_node() {
        let term = compile("object.a ==\n objekt").unwrap();
        let whole = term.program.expression();
        let cel::common::ast::Expr::Call(call) = &whole.expr else { panic!("{whole:?}") };
        let fault = Fault::new("no").within(&call.args[1]).within(whole);
        assert_eq!(fault.text(&term), "ERROR: <input>:2:2: no");
        assert_eq!(Fault::new("no").within(whole).text(&term), "ERROR: <input>:1:10: no");
        assert_eq!(Fault::new("no").text(&term), "ERROR: <input>: no");
        let other = compile("'ключ' == x").unwrap();
        let fault = Fault::new("no").within(other.program.expression());
        assert_eq!(fault.text(&other), "ERROR: <input>: no");
    }
}

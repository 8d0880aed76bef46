//! `[[ … ]]`: a condition whose words are neither split nor made file names, with `&&`, `||`, `!`
//! and parentheses inside.

use super::builtins::test::{binary, unary};
use super::{Flow, Run, Shell, pattern};
use brush_parser::ast::{BinaryPredicate as Binary, ExtendedTestExpr as Expr, UnaryPredicate as Unary, Word};

/// A truth, or why there is none: a number that is none, an operator that this shell lacks.
type Truth = Result<bool, String>;

impl Shell {
    /// Status 0 if `expr` holds, 1 if not, 2 if it has no meaning, as bash.
    pub(super) fn extended_test(&mut self, expr: &Expr) -> Run {
        match self.holds(expr)? {
            Ok(truth) => self.done(i32::from(!truth)),
            Err(what) => {
                self.complain(format_args!("[[: {what}"));
                self.done(2)
            }
        }
    }

    /// Evaluates a test. The right side of `&&` and `||` is looked at (and its `$(…)` run) only if
    /// the left side leaves the answer open.
    fn holds(&mut self, expr: &Expr) -> Result<Truth, Flow> {
        self.deeper()?;
        match expr {
            Expr::And(left, right) => match self.holds(left)? {
                Ok(true) => self.holds(right),
                other => Ok(other),
            },
            Expr::Or(left, right) => match self.holds(left)? {
                Ok(false) => self.holds(right),
                other => Ok(other),
            },
            Expr::Not(inner) => Ok(self.holds(inner)?.map(|truth| !truth)),
            Expr::Parenthesized(inner) => self.holds(inner),
            Expr::UnaryTest(operator, operand) => self.holds_of_one(operator, operand),
            Expr::BinaryTest(operator, left, right) => self.holds_of_two(operator, left, right),
        }
    }

    fn holds_of_one(&mut self, operator: &Unary, operand: &Word) -> Result<Truth, Flow> {
        if let Unary::FileExistsAndModifiedSinceLastRead
        | Unary::ShellOptionEnabled
        | Unary::ShellVariableIsSetAndAssigned
        | Unary::ShellVariableIsSetAndNameRef = operator
        {
            return Ok(Err(format!("{operator}: not implemented by this shell")));
        }
        let operand = self.one(&operand.value)?;
        Ok(Ok(unary(&operator.to_string(), &operand)))
    }

    fn holds_of_two(&mut self, operator: &Binary, left: &Word, right: &Word) -> Result<Truth, Flow> {
        let left = self.one(&left.value)?;
        match operator {
            Binary::StringMatchesRegex | Binary::StringContainsSubstring => {
                Ok(Err("=~: not implemented by this shell; use grep -E".into()))
            }
            Binary::StringExactlyMatchesPattern | Binary::StringDoesNotExactlyMatchPattern => {
                let text: Vec<char> = left.chars().collect();
                let fits = pattern::matches(&self.pattern(&right.value)?, &text);
                Ok(Ok(fits == matches!(operator, Binary::StringExactlyMatchesPattern)))
            }
            _ => {
                let right = self.one(&right.value)?;
                Ok(binary(&left, &operator.to_string(), &right))
            }
        }
    }
}

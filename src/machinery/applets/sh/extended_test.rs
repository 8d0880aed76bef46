//! `[[ … ]]`: a condition whose words are neither split nor made file names, with `&&`, `||`, `!`
//! and parentheses inside.

use super::builtins::test::{test_binary, test_unary};
use super::{Flow, Run, Shell, pattern};
use brush_parser::ast::{BinaryPredicate as Binary, ExtendedTestExpr as Expr, UnaryPredicate as Unary, Word};

/// A truth, or why there is none: a number that is none, an operator that this shell lacks.
type Truth = Result<bool, String>;

impl Shell {
    /// Status 0 if `expr` holds, 1 if not, 2 if it has no meaning, as bash.
    pub(super) fn extended_test(&mut self, expr: &Expr) -> Run {
        match self.evaluate_extended_test(expr)? {
            Ok(truth) => self.set_status(i32::from(!truth)),
            Err(what) => {
                self.print_error(format_args!("[[: {what}"));
                self.set_status(2)
            }
        }
    }

    /// Evaluates a test. The right side of `&&` and `||` is looked at (and its `$(…)` run) only if
    /// the left side leaves the answer open.
    fn evaluate_extended_test(&mut self, expr: &Expr) -> Result<Truth, Flow> {
        self.check_depth()?;
        match expr {
            Expr::And(left, right) => match self.evaluate_extended_test(left)? {
                Ok(true) => self.evaluate_extended_test(right),
                other => Ok(other),
            },
            Expr::Or(left, right) => match self.evaluate_extended_test(left)? {
                Ok(false) => self.evaluate_extended_test(right),
                other => Ok(other),
            },
            Expr::Not(inner) => Ok(self.evaluate_extended_test(inner)?.map(|truth| !truth)),
            Expr::Parenthesized(inner) => self.evaluate_extended_test(inner),
            Expr::UnaryTest(operator, operand) => self.evaluate_unary(operator, operand),
            Expr::BinaryTest(operator, left, right) => self.evaluate_binary(operator, left, right),
        }
    }

    fn evaluate_unary(&mut self, operator: &Unary, operand: &Word) -> Result<Truth, Flow> {
        if let Unary::FileExistsAndModifiedSinceLastRead
        | Unary::ShellOptionEnabled
        | Unary::ShellVariableIsSetAndAssigned
        | Unary::ShellVariableIsSetAndNameRef = operator
        {
            return Ok(Err(format!("{operator}: not implemented by this shell")));
        }
        let operand = self.expand_to_string(&operand.value)?;
        Ok(Ok(test_unary(&operator.to_string(), &operand)))
    }

    fn evaluate_binary(&mut self, operator: &Binary, left: &Word, right: &Word) -> Result<Truth, Flow> {
        let left = self.expand_to_string(&left.value)?;
        match operator {
            Binary::StringMatchesRegex | Binary::StringContainsSubstring => {
                Ok(Err("=~: not implemented by this shell; use grep -E".into()))
            }
            Binary::StringExactlyMatchesPattern | Binary::StringDoesNotExactlyMatchPattern => {
                let text: Vec<char> = left.chars().collect();
                let fits = pattern::matches(&self.expand_pattern(&right.value)?, &text);
                Ok(Ok(fits == matches!(operator, Binary::StringExactlyMatchesPattern)))
            }
            _ => {
                let right = self.expand_to_string(&right.value)?;
                Ok(test_binary(&left, &operator.to_string(), &right))
            }
        }
    }
}

//! `$((…))`: 64-bit sums that wrap around, as in every shell.

use super::{Flow, Shell};
use brush_parser::ast::{
    ArithmeticExpr, ArithmeticTarget, BinaryOperator, UnaryAssignmentOperator, UnaryOperator,
};
use std::borrow::Cow;

impl Shell {
    pub(super) fn evaluate_arithmetic(&mut self, text: &str) -> Result<i64, Flow> {
        let text = if text.contains(['$', '`', '\\', '"']) {
            self.expand_to_string(text)?
        } else {
            text.to_string()
        };
        let text = text.trim();
        if text.is_empty() {
            return Ok(0);
        }
        let sum = self.parse_sum(&clamp_literals(text))?;
        self.evaluate(&sum)
    }

    fn evaluate(&mut self, sum: &ArithmeticExpr) -> Result<i64, Flow> {
        self.check_depth()?;
        Ok(match sum {
            ArithmeticExpr::Literal(value) => *value,
            ArithmeticExpr::Reference(target) => self.number(target)?,
            ArithmeticExpr::UnaryOp(operator, operand) => {
                let value = self.evaluate(operand)?;
                match operator {
                    UnaryOperator::UnaryPlus => value,
                    UnaryOperator::UnaryMinus => value.wrapping_neg(),
                    UnaryOperator::BitwiseNot => !value,
                    UnaryOperator::LogicalNot => i64::from(value == 0),
                }
            }
            ArithmeticExpr::BinaryOp(BinaryOperator::LogicalAnd, left, right) => {
                i64::from(self.evaluate(left)? != 0 && self.evaluate(right)? != 0)
            }
            ArithmeticExpr::BinaryOp(BinaryOperator::LogicalOr, left, right) => {
                i64::from(self.evaluate(left)? != 0 || self.evaluate(right)? != 0)
            }
            ArithmeticExpr::BinaryOp(operator, left, right) => {
                let (left, right) = (self.evaluate(left)?, self.evaluate(right)?);
                self.combine(operator, left, right)?
            }
            ArithmeticExpr::Conditional(condition, yes, no) => {
                let chosen = if self.evaluate(condition)? != 0 { yes } else { no };
                self.evaluate(chosen)?
            }
            ArithmeticExpr::Assignment(target, operand) => {
                let value = self.evaluate(operand)?;
                self.assign(target, value)?
            }
            ArithmeticExpr::BinaryAssignment(operator, target, operand) => {
                let (left, right) = (self.number(target)?, self.evaluate(operand)?);
                let value = self.combine(operator, left, right)?;
                self.assign(target, value)?
            }
            ArithmeticExpr::UnaryAssignment(operator, target) => {
                let before = self.number(target)?;
                let after =
                    match operator {
                        UnaryAssignmentOperator::PrefixIncrement
                        | UnaryAssignmentOperator::PostfixIncrement => before.wrapping_add(1),
                        UnaryAssignmentOperator::PrefixDecrement
                        | UnaryAssignmentOperator::PostfixDecrement => before.wrapping_sub(1),
                    };
                self.assign(target, after)?;
                match operator {
                    UnaryAssignmentOperator::PrefixIncrement | UnaryAssignmentOperator::PrefixDecrement => {
                        after
                    }
                    _ => before,
                }
            }
        })
    }

    fn assign(&mut self, target: &ArithmeticTarget, value: i64) -> Result<i64, Flow> {
        match target {
            ArithmeticTarget::Variable(name) => self.set(name, value.to_string())?,
            ArithmeticTarget::ArrayElement(..) => return Err(self.no_arrays()),
        }
        Ok(value)
    }

    fn no_arrays(&self) -> Flow {
        self.print_error("arrays are not implemented by this shell");
        Flow::Abort(2)
    }

    /// Returns a variable's number. Its text is data: nothing in it is expanded or computed, as in
    /// dash.
    fn number(&mut self, target: &ArithmeticTarget) -> Result<i64, Flow> {
        let ArithmeticTarget::Variable(name) = target else { return Err(self.no_arrays()) };
        let text = self.variable(name).unwrap_or_default();
        parse_integer(&text).ok_or_else(|| {
            self.print_error(format_args!("Illegal number: {text}"));
            Flow::Abort(2)
        })
    }

    fn combine(&self, operator: &BinaryOperator, left: i64, right: i64) -> Result<i64, Flow> {
        combine(operator, left, right).ok_or_else(|| {
            self.print_error(match operator {
                BinaryOperator::Power => "exponent less than 0",
                _ => "divide by zero",
            });
            Flow::Abort(2)
        })
    }
}

/// Returns the digits of a number, and the base that stands before them.
fn without_base(number: &str) -> (&str, u32) {
    match number.strip_prefix("0x").or(number.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if number.len() > 1 && number.starts_with('0') => (&number[1..], 8),
        None => (number, 10),
    }
}

/// Returns a sum in which each literal that 64 bits cannot hold is the largest number that they
/// can, as dash's strtoimax(3) reads it. The value of a variable is "Illegal number" then, see
/// [`parse_integer`].
///
/// ```text
/// $((99999999999999999999 - 1))   9223372036854775806
/// $((-9223372036854775808))       -9223372036854775807: the sign is an operator
/// ```
fn clamp_literals(text: &str) -> Cow<'_, str> {
    // As long as `0x8000000000000000`, the shortest that does not fit.
    if text.len() < 18 {
        return Cow::Borrowed(text);
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (mut clamped, mut rest) = (String::new(), text);
    while let Some(begin) = rest.find(is_word) {
        let (before, word) = rest.split_at(begin);
        let (word, after) = word.split_at(word.find(|c: char| !is_word(c)).unwrap_or(word.len()));
        let (digits, base) = without_base(word);
        let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_digit(base));
        let is_too_large = is_number && i64::from_str_radix(digits, base).is_err();
        // A part of `36#zzz` is no number by itself.
        let is_alone = !before.ends_with('#') && !after.starts_with('#');
        clamped.push_str(before);
        match is_too_large && is_alone {
            true => clamped.push_str(&i64::MAX.to_string()),
            false => clamped.push_str(word),
        }
        rest = after;
    }
    clamped.push_str(rest);
    Cow::Owned(clamped)
}

/// Returns a number as C writes it: decimal, octal after `0`, hexadecimal after `0x`; nothing is 0.
/// `None` if the text is no number or does not fit.
fn parse_integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let (digits, base) = without_base(digits);
    if text.is_empty() {
        return Some(0);
    }
    if !digits.starts_with(|c: char| c.is_digit(base)) {
        return None; // a second sign
    }
    let magnitude = i128::from_str_radix(digits, base).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// `None` for a division by zero and a negative exponent.
fn combine(operator: &BinaryOperator, left: i64, right: i64) -> Option<i64> {
    Some(match operator {
        BinaryOperator::Power if right < 0 => return None,
        BinaryOperator::Power => left.wrapping_pow(u32::try_from(right).unwrap_or(u32::MAX)),
        BinaryOperator::Multiply => left.wrapping_mul(right),
        BinaryOperator::Divide if right == 0 => return None,
        BinaryOperator::Divide => left.wrapping_div(right),
        BinaryOperator::Modulo if right == 0 => return None,
        BinaryOperator::Modulo => left.wrapping_rem(right),
        BinaryOperator::Comma => right,
        BinaryOperator::Add => left.wrapping_add(right),
        BinaryOperator::Subtract => left.wrapping_sub(right),
        BinaryOperator::ShiftLeft => left.wrapping_shl(right as u32),
        BinaryOperator::ShiftRight => left.wrapping_shr(right as u32),
        BinaryOperator::LessThan => i64::from(left < right),
        BinaryOperator::LessThanOrEqualTo => i64::from(left <= right),
        BinaryOperator::GreaterThan => i64::from(left > right),
        BinaryOperator::GreaterThanOrEqualTo => i64::from(left >= right),
        BinaryOperator::Equals => i64::from(left == right),
        BinaryOperator::NotEquals => i64::from(left != right),
        BinaryOperator::BitwiseAnd => left & right,
        BinaryOperator::BitwiseXor => left ^ right,
        BinaryOperator::BitwiseOr => left | right,
        BinaryOperator::LogicalAnd => i64::from(left != 0 && right != 0),
        BinaryOperator::LogicalOr => i64::from(left != 0 || right != 0),
    })
}

#[cfg(test)]
mod tests {
    use super::{clamp_literals, parse_integer};

    #[test]
    fn a_literal_that_does_not_fit_is_the_largest_number() {
        const MOST: &str = "9223372036854775807";
        for (text, wanted) in [
            ("99999999999999999999 - 1", format!("{MOST} - 1")),
            ("-9223372036854775808", format!("-{MOST}")),
            ("0xffffffffffffffff+x", format!("{MOST}+x")),
            ("(01777777777777777777777)", format!("({MOST})")),
            (MOST, MOST.into()),
            ("0x7fffffffffffffff", "0x7fffffffffffffff".into()),
            ("a99999999999999999999", "a99999999999999999999".into()),
            ("99999999999999999999z", "99999999999999999999z".into()),
            ("36#99999999999999999999", "36#99999999999999999999".into()),
        ] {
            assert_eq!(clamp_literals(text), wanted, "{text}");
            let whole = !text.ends_with('z');
            assert_eq!(brush_parser::arithmetic::parse(&clamp_literals(text)).is_ok(), whole, "{text}");
        }
    }

    #[test]
    fn the_value_of_a_variable_is_a_number_or_wrong() {
        for (text, value) in [
            ("", Some(0)),
            (" -7 ", Some(-7)),
            ("010", Some(8)),
            ("0x1F", Some(31)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("08", None),
            ("--1", None),
            ("1+1", None),
            ("y", None),
            ("$(echo 1)", None),
        ] {
            assert_eq!(parse_integer(text), value, "{text:?}");
        }
    }
}

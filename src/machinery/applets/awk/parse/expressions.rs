//! Expressions, by precedence from `?:` to `$`. An assignment begins wherever its target ends, so
//! `1 + a = 2`, which the other awks refuse, is `1 + (a = 2)`.

use super::ast::{Arith, Builtin, Comparison, Expr, Source};
use super::lexer::Token;
use super::{Parsed, Parser, SyntaxError};
use crate::awk::regex::Regex;
use std::rc::Rc;

impl Parser<'_> {
    pub(super) fn parse_expression(&mut self) -> Parsed<Expr> {
        match self.expression_or_list()? {
            Expr::List(_) => self.unexpected(),
            expr => Ok(expr),
        }
    }

    /// As [`Parser::parse_expression`], and also `(a, b)`, which `print` takes.
    pub(super) fn expression_or_list(&mut self) -> Parsed<Expr> {
        self.enter_level()?;
        let expr = self.parse_ternary()?;
        self.depth -= 1;
        Ok(expr)
    }

    /// Expressions between commas, up to the closing symbol, which is taken.
    pub(super) fn list_until(&mut self, closing: &str) -> Parsed<Vec<Expr>> {
        let before = std::mem::replace(&mut self.in_print, false);
        let mut list = Vec::new();
        self.skip_newlines()?;
        if !self.is(closing) {
            list.push(self.parse_expression()?);
            self.skip_newlines()?;
            while self.accept(",")? {
                self.skip_newlines()?;
                list.push(self.parse_expression()?);
                self.skip_newlines()?;
            }
        }
        self.in_print = before;
        self.expect(closing)?;
        Ok(list)
    }

    fn parse_ternary(&mut self) -> Parsed<Expr> {
        let condition = self.parse_or()?;
        if !self.is("?") {
            return Ok(condition);
        }
        self.advance()?;
        self.skip_newlines()?;
        let then = self.parse_expression()?;
        self.skip_newlines()?;
        self.expect(":")?;
        self.skip_newlines()?;
        let other = self.parse_expression()?;
        Ok(Expr::Ternary(Box::new((condition, then, other))))
    }

    fn parse_or(&mut self) -> Parsed<Expr> {
        let mut left = self.parse_and()?;
        while self.accept("||")? {
            self.count_operator()?;
            self.skip_newlines()?;
            left = Expr::Or(Box::new((left, self.parse_and()?)));
        }
        Ok(left)
    }

    fn parse_and(&mut self) -> Parsed<Expr> {
        let mut left = self.parse_membership()?;
        while self.accept("&&")? {
            self.count_operator()?;
            self.skip_newlines()?;
            left = Expr::And(Box::new((left, self.parse_membership()?)));
        }
        Ok(left)
    }

    /// `in` binds weaker than a comparison, so `1 == 2 in a` is `(1 == 2) in a`. A comparison
    /// behind it has no other left side than what `in` gave: `1 in a == 0` is `(1 in a) == 0`, as
    /// yacc's grammars read it.
    fn parse_membership(&mut self) -> Parsed<Expr> {
        let mut left = self.parse_match()?;
        while self.is_keyword("in") {
            self.count_operator()?;
            self.advance()?;
            let array = self.array_name()?;
            left = match left {
                Expr::List(subscripts) => Expr::In(subscripts, array),
                one => Expr::In(vec![one], array),
            };
            left = self.comparison_after(left)?;
            left = self.matching_after(left)?;
        }
        Ok(left)
    }

    fn parse_match(&mut self) -> Parsed<Expr> {
        let left = self.parse_comparison()?;
        self.matching_after(left)
    }

    fn matching_after(&mut self, mut left: Expr) -> Parsed<Expr> {
        while self.is("~") || self.is("!~") {
            self.count_operator()?;
            let negated = self.is("!~");
            self.advance()?;
            left = Expr::Match { operands: Box::new((left, self.parse_comparison()?)), negated };
        }
        Ok(left)
    }

    fn parse_comparison(&mut self) -> Parsed<Expr> {
        let left = self.command_input()?;
        self.comparison_after(left)
    }

    fn comparison_after(&mut self, mut left: Expr) -> Parsed<Expr> {
        loop {
            let comparison = match self.token {
                Token::Symbol("<") => Comparison::Less,
                Token::Symbol("<=") => Comparison::LessOrEqual,
                Token::Symbol("==") => Comparison::Equal,
                Token::Symbol("!=") => Comparison::NotEqual,
                Token::Symbol(">") if !self.in_print => Comparison::Greater,
                Token::Symbol(">=") => Comparison::GreaterOrEqual,
                _ => return Ok(left),
            };
            self.count_operator()?;
            self.advance()?;
            left = Expr::Compare(comparison, Box::new((left, self.command_input()?)));
        }
    }

    /// `command | getline`, which binds tighter than a comparison and weaker than concatenation.
    fn command_input(&mut self) -> Parsed<Expr> {
        let mut left = self.parse_concatenation()?;
        while self.is("|") {
            let before = (self.lexer.clone(), self.token.clone(), self.line);
            self.advance()?;
            if !self.is_keyword("getline") {
                (self.lexer, self.token, self.line) = before;
                break;
            }
            self.count_operator()?;
            self.advance()?;
            let target = self.optional_target()?;
            left = Expr::Getline(Source::Command(Box::new(left)), target);
        }
        Ok(left)
    }

    pub(super) fn parse_concatenation(&mut self) -> Parsed<Expr> {
        let first = self.parse_sum()?;
        if matches!(first, Expr::List(_)) || !self.begins_operand() {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.begins_operand() {
            self.count_operator()?;
            parts.push(match self.parse_sum()? {
                Expr::List(_) => return self.unexpected(),
                part => part,
            });
        }
        Ok(Expr::Concat(parts))
    }

    /// Returns whether the token begins an operand of a concatenation. `+` and `-` are never that:
    /// they add and subtract. `/` divides.
    fn begins_operand(&self) -> bool {
        match &self.token {
            Token::Number(_) | Token::Text(_) | Token::Name(..) | Token::Builtin(_) => true,
            Token::Symbol(symbol) => matches!(*symbol, "$" | "!" | "(" | "++" | "--"),
            _ => false,
        }
    }

    fn parse_sum(&mut self) -> Parsed<Expr> {
        let mut left = self.parse_product()?;
        loop {
            let arith = match self.token {
                Token::Symbol("+") => Arith::Add,
                Token::Symbol("-") => Arith::Subtract,
                _ => return Ok(left),
            };
            self.count_operator()?;
            self.advance()?;
            left = Expr::Arith(arith, Box::new((left, self.parse_product()?)));
        }
    }

    fn parse_product(&mut self) -> Parsed<Expr> {
        let mut left = self.parse_unary()?;
        loop {
            let arith = match self.token {
                Token::Symbol("*") => Arith::Multiply,
                Token::Symbol("/") => Arith::Divide,
                Token::Symbol("%") => Arith::Modulo,
                _ => return Ok(left),
            };
            self.count_operator()?;
            self.advance()?;
            left = Expr::Arith(arith, Box::new((left, self.parse_unary()?)));
        }
    }

    fn parse_unary(&mut self) -> Parsed<Expr> {
        let wrap = match self.token {
            Token::Symbol("!") => Expr::Not,
            Token::Symbol("-") => Expr::Negate,
            Token::Symbol("+") => Expr::Plus,
            _ => return self.parse_power(),
        };
        self.enter_level()?;
        self.advance()?;
        let operand = wrap(Box::new(self.parse_unary()?));
        self.depth -= 1;
        Ok(operand)
    }

    fn parse_power(&mut self) -> Parsed<Expr> {
        let base = self.parse_postfix()?;
        if !self.is("^") {
            return Ok(base);
        }
        self.enter_level()?;
        self.advance()?;
        // The exponent is unary: `2^-1`. It takes further powers, which are right-associative.
        let exponent = self.parse_unary()?;
        self.depth -= 1;
        Ok(Expr::Arith(Arith::Power, Box::new((base, exponent))))
    }

    fn parse_postfix(&mut self) -> Parsed<Expr> {
        let target = self.parse_primary()?;
        if !target.is_lvalue() {
            return Ok(target);
        }
        let arith = match self.token {
            Token::Symbol("++" | "--") => {
                let by = if self.is("++") { 1.0 } else { -1.0 };
                self.advance()?;
                return Ok(Expr::Step { target: Box::new(target), by, prefix: false });
            }
            Token::Symbol("=") => None,
            Token::Symbol("+=") => Some(Arith::Add),
            Token::Symbol("-=") => Some(Arith::Subtract),
            Token::Symbol("*=") => Some(Arith::Multiply),
            Token::Symbol("/=") => Some(Arith::Divide),
            Token::Symbol("%=") => Some(Arith::Modulo),
            Token::Symbol("^=") => Some(Arith::Power),
            _ => return Ok(target),
        };
        self.advance()?;
        self.skip_newlines()?;
        Ok(Expr::Assign(Box::new(target), arith, Box::new(self.parse_expression()?)))
    }

    /// Parses an operand without the operators behind it.
    fn parse_primary(&mut self) -> Parsed<Expr> {
        let line = self.line;
        match self.token.clone() {
            Token::Number(number) => {
                self.advance()?;
                Ok(Expr::Number(number))
            }
            Token::Text(text) => {
                self.advance()?;
                Ok(Expr::Text(Rc::from(text)))
            }
            Token::Symbol(opening @ ("/" | "/=")) => {
                let fault = |text| SyntaxError { line, text };
                let pattern = self.lexer.read_regex(opening).map_err(fault)?;
                let regex = Regex::new(&pattern).map_err(fault)?;
                self.advance()?;
                Ok(Expr::Regex(Rc::new(regex)))
            }
            Token::Symbol("$") => self.parse_field(),
            Token::Symbol(step @ ("++" | "--")) => {
                self.enter_level()?;
                self.advance()?;
                let target = self.parse_primary()?;
                self.depth -= 1;
                if !target.is_lvalue() {
                    return self.unexpected();
                }
                let by = if step == "++" { 1.0 } else { -1.0 };
                Ok(Expr::Step { target: Box::new(target), by, prefix: true })
            }
            Token::Symbol("(") => self.parse_group(),
            Token::Symbol("-" | "+" | "!") => self.parse_unary(),
            Token::Keyword("getline") => {
                self.advance()?;
                let target = self.optional_target()?;
                if !self.accept("<")? {
                    return Ok(Expr::Getline(Source::Main, target));
                }
                self.enter_level()?;
                let name = self.parse_primary()?;
                self.depth -= 1;
                Ok(Expr::Getline(Source::File(Box::new(name)), target))
            }
            Token::Builtin(builtin) => self.parse_builtin(builtin),
            Token::Name(name, called) => {
                self.advance()?;
                if called || (self.is("(") && self.is_function(&name)) {
                    return self.parse_call(&name, line);
                }
                if name == "switch" && self.is("(") {
                    return self.fail("switch is gawk's own and not supported");
                }
                self.variable_or_element(&name)
            }
            _ => self.unexpected(),
        }
    }

    fn variable_or_element(&mut self, name: &str) -> Parsed<Expr> {
        if !self.accept("[")? {
            return Ok(Expr::Var(self.resolve_variable(name)?));
        }
        let array = self.resolve_array(name)?;
        self.enter_level()?;
        let subscripts = self.list_until("]")?;
        self.depth -= 1;
        if subscripts.is_empty() { self.unexpected() } else { Ok(Expr::Element(array, subscripts)) }
    }

    /// `$` takes an operand with `++` or `--` before it, not after it: `$i++` is `($i)++`.
    fn parse_field(&mut self) -> Parsed<Expr> {
        self.enter_level()?;
        self.advance()?;
        let number = match self.token {
            Token::Symbol("-" | "+" | "!") => {
                let wrap = match self.advance()? {
                    Token::Symbol("-") => Expr::Negate,
                    Token::Symbol("+") => Expr::Plus,
                    _ => Expr::Not,
                };
                wrap(Box::new(self.parse_primary()?))
            }
            _ => self.parse_primary()?,
        };
        self.depth -= 1;
        match number {
            Expr::List(_) => self.unexpected(),
            number => Ok(Expr::Field(Box::new(number))),
        }
    }

    /// `(expression)`, or `(a, b)`, which only `in` and `print` take.
    fn parse_group(&mut self) -> Parsed<Expr> {
        let list_allowed = std::mem::take(&mut self.list_allowed);
        self.expect("(")?;
        self.enter_level()?;
        let mut list = self.list_until(")")?;
        self.depth -= 1;
        let ends =
            matches!(self.token, Token::Symbol(";" | "}" | ">" | ">>" | "|") | Token::Newline | Token::End);
        match list.len() {
            0 => self.unexpected(),
            1 => {
                let inner = list.remove(0);
                // `(a) = 1` is no assignment.
                Ok(if inner.is_lvalue() { Expr::Group(Box::new(inner)) } else { inner })
            }
            _ if self.is_keyword("in") || (list_allowed && ends) => Ok(Expr::List(list)),
            _ => self.unexpected(),
        }
    }

    /// Parses the lvalue after `getline`, if there is one.
    fn optional_target(&mut self) -> Parsed<Option<Box<Expr>>> {
        let target = match self.token.clone() {
            Token::Symbol("$") => self.parse_field()?,
            Token::Name(name, false) => {
                self.advance()?;
                self.variable_or_element(&name)?
            }
            _ => return Ok(None),
        };
        Ok(Some(Box::new(target)))
    }

    fn parse_call(&mut self, name: &str, line: usize) -> Parsed<Expr> {
        let callee = self.function_number(name);
        self.expect("(")?;
        self.enter_level()?;
        let args = self.list_until(")")?;
        self.depth -= 1;
        self.note_call(callee, &args, line);
        Ok(Expr::Call(callee, args))
    }

    fn parse_builtin(&mut self, builtin: Builtin) -> Parsed<Expr> {
        let name = format!("{builtin:?}").to_lowercase();
        self.advance()?;
        if !self.is("(") {
            return match builtin {
                Builtin::Length => Ok(Expr::Builtin(builtin, Vec::new())),
                _ => self.fail(format!("{name} needs its arguments in parentheses")),
            };
        }
        self.advance()?;
        self.enter_level()?;
        // The array of `split` is a name, which is noted as an array.
        let args = self.list_until(")")?;
        self.depth -= 1;
        let (least, most) = match builtin {
            Builtin::Rand | Builtin::Systime => (0, 0),
            Builtin::Srand | Builtin::Length | Builtin::Fflush => (0, 1),
            Builtin::Atan2 | Builtin::Index | Builtin::Match => (2, 2),
            Builtin::Split | Builtin::Substr | Builtin::Sub | Builtin::Gsub => (2, 3),
            Builtin::Sprintf => (1, usize::MAX),
            _ => (1, 1),
        };
        if !(least..=most).contains(&args.len()) {
            let of_gawk = matches!(builtin, Builtin::Match | Builtin::Split) && args.len() == most + 1;
            let why = if of_gawk { " (the last one is gawk's own)" } else { "" };
            return self.fail(format!("{name} does not take {} arguments{why}", args.len()));
        }
        match (builtin, args.get(1), args.get(2)) {
            (Builtin::Split, Some(Expr::Var(var)), _) => self.note_array(*var),
            (Builtin::Split, ..) => return self.fail("the second argument of split must be an array"),
            (Builtin::Sub | Builtin::Gsub, _, Some(target)) if !is_assignable(target) => {
                return self.fail(format!("the third argument of {name} must be a variable or a field"));
            }
            _ => {}
        }
        Ok(Expr::Builtin(builtin, args))
    }
}

/// Returns whether `sub` can change an expression.
fn is_assignable(target: &Expr) -> bool {
    match target {
        Expr::Group(inner) => inner.is_lvalue(),
        target => target.is_lvalue(),
    }
}

//! Statements, as the parser reads them.

use super::ast::{Branch, Expr, Kind, Redirect, Stmt};
use super::lexer::Token;
use super::{Parsed, Parser};

impl Parser<'_> {
    pub(super) fn block(&mut self) -> Parsed<Vec<Stmt>> {
        self.expect("{")?;
        self.deeper()?;
        let mut statements = Vec::new();
        loop {
            self.skip_ends()?;
            if self.accept("}")? {
                self.depth -= 1;
                return Ok(statements);
            }
            statements.push(self.statement()?);
        }
    }

    fn statement(&mut self) -> Parsed<Stmt> {
        self.deeper()?;
        self.operators = 0;
        let line = self.line;
        let kind = match self.token {
            Token::Symbol("{") => Kind::Block(self.block()?),
            Token::Symbol(";") => {
                self.advance()?;
                Kind::Block(Vec::new())
            }
            Token::Keyword("if") => self.if_statement()?,
            Token::Keyword("while") => {
                self.advance()?;
                let condition = self.condition()?;
                Kind::While(condition, self.body()?)
            }
            Token::Keyword("do") => self.do_statement()?,
            Token::Keyword("for") => self.for_statement()?,
            _ => {
                let kind = self.simple()?;
                self.end_of_simple()?;
                kind
            }
        };
        self.depth -= 1;
        Ok(Stmt { line, kind })
    }

    fn end_of_simple(&mut self) -> Parsed<()> {
        if self.is(";") || self.token == Token::Newline {
            self.advance()?;
        } else if !self.is("}") && self.token != Token::End {
            return self.unexpected();
        }
        Ok(())
    }

    fn condition(&mut self) -> Parsed<Expr> {
        self.expect("(")?;
        let condition = self.expression()?;
        self.expect(")")?;
        Ok(condition)
    }

    /// Parses the body of a loop.
    fn body(&mut self) -> Parsed<Box<Stmt>> {
        self.loops += 1;
        if self.token == Token::Newline {
            self.skip_newlines()?;
        }
        let body = self.statement()?;
        self.loops -= 1;
        Ok(Box::new(body))
    }

    fn if_statement(&mut self) -> Parsed<Kind> {
        let mut branches = Vec::new();
        loop {
            let line = self.line;
            self.advance()?;
            self.operators = 0;
            let condition = self.condition()?;
            self.skip_newlines()?;
            let then = self.statement()?;
            branches.push(Branch { line, condition, then });
            let (lexer, token, line) = (self.lexer.clone(), self.token.clone(), self.line);
            self.skip_ends()?;
            if !self.is_keyword("else") {
                (self.lexer, self.token, self.line) = (lexer, token, line);
                return Ok(Kind::If(branches, None));
            }
            self.advance()?;
            self.skip_newlines()?;
            if !self.is_keyword("if") {
                return Ok(Kind::If(branches, Some(Box::new(self.statement()?))));
            }
        }
    }

    fn do_statement(&mut self) -> Parsed<Kind> {
        self.advance()?;
        let body = self.body()?;
        self.skip_ends()?;
        if !self.is_keyword("while") {
            return self.unexpected();
        }
        self.advance()?;
        let condition = self.condition()?;
        self.end_of_simple()?;
        Ok(Kind::Do(body, condition))
    }

    fn for_statement(&mut self) -> Parsed<Kind> {
        self.advance()?;
        self.expect("(")?;
        let before = (self.lexer.clone(), self.token.clone(), self.line);
        if let Some((var, array)) = self.for_in()? {
            let (var, array) = (self.variable(&var)?, self.array(&array)?);
            return Ok(Kind::ForIn(var, array, self.body()?));
        }
        (self.lexer, self.token, self.line) = before;
        let init = if self.is(";") { None } else { Some(self.simple_boxed()?) };
        self.expect(";")?;
        self.skip_newlines()?;
        let condition = if self.is(";") { None } else { Some(self.expression()?) };
        self.expect(";")?;
        self.skip_newlines()?;
        let update = if self.is(")") { None } else { Some(self.simple_boxed()?) };
        self.expect(")")?;
        Ok(Kind::For(init, condition, update, self.body()?))
    }

    /// `NAME in NAME )`, if that follows.
    fn for_in(&mut self) -> Parsed<Option<(String, String)>> {
        let Token::Name(var, false) = self.token.clone() else { return Ok(None) };
        self.advance()?;
        if !self.is_keyword("in") {
            return Ok(None);
        }
        self.advance()?;
        let Token::Name(array, false) = self.token.clone() else { return Ok(None) };
        self.advance()?;
        Ok(self.accept(")")?.then_some((var, array)))
    }

    fn simple_boxed(&mut self) -> Parsed<Box<Stmt>> {
        let line = self.line;
        Ok(Box::new(Stmt { line, kind: self.simple()? }))
    }

    fn simple(&mut self) -> Parsed<Kind> {
        let Token::Keyword(word) = self.token else { return Ok(Kind::Expr(self.expression()?)) };
        if word == "getline" {
            return Ok(Kind::Expr(self.expression()?));
        }
        self.advance()?;
        match word {
            "print" | "printf" => self.print(word == "printf"),
            "next" => Ok(Kind::Next),
            "nextfile" => Ok(Kind::NextFile),
            "break" | "continue" if self.loops == 0 => self.fail(format!("{word} outside of a loop")),
            "break" => Ok(Kind::Break),
            "continue" => Ok(Kind::Continue),
            "exit" => Ok(Kind::Exit(self.optional_expression()?)),
            "return" if self.function.is_none() => self.fail("return outside of a function"),
            "return" => Ok(Kind::Return(self.optional_expression()?)),
            "delete" => {
                let array = self.array_name()?;
                let mut subscripts = Vec::new();
                if self.accept("[")? {
                    subscripts = self.list_until("]")?;
                    if subscripts.is_empty() {
                        return self.unexpected();
                    }
                }
                Ok(Kind::Delete(array, subscripts))
            }
            _ => self.fail(format!("syntax error near {word} {}", self.lexer.rest_of_line())),
        }
    }

    fn optional_expression(&mut self) -> Parsed<Option<Expr>> {
        match self.token {
            Token::Symbol(";" | "}") | Token::Newline | Token::End => Ok(None),
            _ => Ok(Some(self.expression()?)),
        }
    }

    fn print(&mut self, formatted: bool) -> Parsed<Kind> {
        let mut args = Vec::new();
        let before = std::mem::replace(&mut self.in_print, true);
        let ends =
            matches!(self.token, Token::Symbol(";" | "}" | ">" | ">>" | "|") | Token::Newline | Token::End);
        if !ends {
            self.list_allowed = self.is("(");
            args.push(self.expression_or_list()?);
            while self.accept(",")? {
                self.skip_newlines()?;
                args.push(self.expression()?);
            }
        }
        self.in_print = before;
        if let [Expr::List(_)] = &args[..]
            && let Some(Expr::List(list)) = args.pop()
        {
            args = list;
        }
        if args.iter().any(|arg| matches!(arg, Expr::List(_))) || (formatted && args.is_empty()) {
            return self.unexpected();
        }
        let redirect = match self.token {
            Token::Symbol(">") => Redirect::Truncate,
            Token::Symbol(">>") => Redirect::Append,
            Token::Symbol("|") => Redirect::Command,
            _ if formatted => return Ok(Kind::Printf(args, None)),
            _ => return Ok(Kind::Print(args, None)),
        };
        self.advance()?;
        let redirect = Some(redirect(self.concatenation()?));
        Ok(if formatted { Kind::Printf(args, redirect) } else { Kind::Print(args, redirect) })
    }
}

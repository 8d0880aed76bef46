//! Runs statements.

use super::format::format;
use super::value::{Text, Value};
use super::{Interpreter, Run, Stop};
use crate::awk::parse::ast::{Expr, Kind, Redirect, Stmt};

/// How a statement ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// The next statement follows.
    Normal,
    Break,
    Continue,
    Return,
}

impl Interpreter<'_> {
    pub(super) fn run_block(&mut self, statements: &[Stmt]) -> Run<Flow> {
        for statement in statements {
            let flow = self.run_statement(statement)?;
            if flow != Flow::Normal {
                return Ok(flow);
            }
        }
        Ok(Flow::Normal)
    }

    fn run_statement(&mut self, statement: &Stmt) -> Run<Flow> {
        self.line = statement.line;
        self.check_depth()?;
        self.statement_nested(&statement.kind)
    }

    fn statement_nested(&mut self, kind: &Kind) -> Run<Flow> {
        match kind {
            Kind::Expr(expr) => self.eval(expr).map(drop)?,
            Kind::Print(args, redirect) => self.print(args, redirect.as_ref())?,
            Kind::Printf(args, redirect) => self.printf(args, redirect.as_ref())?,
            Kind::If(branches, other) => {
                for branch in branches {
                    self.line = branch.line;
                    if self.eval_truth(&branch.condition)? {
                        return self.run_statement(&branch.then);
                    }
                }
                return other.as_ref().map_or(Ok(Flow::Normal), |other| self.run_statement(other));
            }
            Kind::While(condition, body) => return self.repeat(None, Some(condition), None, body),
            Kind::Do(body, condition) => {
                let flow = self.run_statement(body)?;
                return match flow {
                    Flow::Break => Ok(Flow::Normal),
                    Flow::Return => Ok(Flow::Return),
                    _ => self.repeat(None, Some(condition), None, body),
                };
            }
            Kind::For(init, condition, update, body) => {
                return self.repeat(init.as_deref(), condition.as_ref(), update.as_deref(), body);
            }
            Kind::ForIn(var, array, body) => {
                let array = self.get_or_create_array(*array)?;
                // As in the other awks, the loop is over the elements that exist when it begins.
                let keys: Vec<Text> = array.borrow().keys().cloned().collect();
                for key in keys {
                    // POSIX: a subscript is a string.
                    self.set_variable(*var, Value::Text(key))?;
                    match self.run_statement(body)? {
                        Flow::Break => break,
                        Flow::Return => return Ok(Flow::Return),
                        _ => {}
                    }
                }
            }
            Kind::Block(statements) => return self.run_block(statements),
            Kind::Break => return Ok(Flow::Break),
            Kind::Continue => return Ok(Flow::Continue),
            Kind::Next => return Err(Stop::Next),
            Kind::NextFile => return Err(Stop::NextFile),
            Kind::Exit(code) => {
                if let Some(code) = code {
                    self.exit_code = (self.eval_number(code)? as i64 & 0xff) as i32;
                }
                return Err(Stop::Exit);
            }
            Kind::Return(value) => {
                self.returned = value.as_ref().map_or(Ok(Value::Unset), |value| self.eval(value))?;
                return Ok(Flow::Return);
            }
            Kind::Delete(array, subscripts) => {
                let array = self.get_or_create_array(*array)?;
                if subscripts.is_empty() {
                    array.borrow_mut().clear();
                } else {
                    let key = self.eval_subscript(subscripts)?;
                    array.borrow_mut().swap_remove(&key);
                }
            }
        }
        Ok(Flow::Normal)
    }

    fn repeat(
        &mut self,
        init: Option<&Stmt>,
        condition: Option<&Expr>,
        update: Option<&Stmt>,
        body: &Stmt,
    ) -> Run<Flow> {
        if let Some(init) = init {
            self.run_statement(init)?;
        }
        while condition.map_or(Ok(true), |condition| self.eval_truth(condition))? {
            match self.run_statement(body)? {
                Flow::Break => break,
                Flow::Return => return Ok(Flow::Return),
                Flow::Normal | Flow::Continue => {}
            }
            if let Some(update) = update {
                self.run_statement(update)?;
            }
        }
        Ok(Flow::Normal)
    }

    pub(super) fn print(&mut self, args: &[Expr], redirect: Option<&Redirect>) -> Run<()> {
        let mut text = Vec::new();
        if args.is_empty() {
            text.extend_from_slice(&self.whole_record());
        }
        for (at, arg) in args.iter().enumerate() {
            if at > 0 {
                text.extend_from_slice(&self.settings.ofs);
            }
            let value = self.eval(arg)?;
            text.extend_from_slice(&value.to_text(&self.settings.ofmt));
        }
        text.extend_from_slice(&self.settings.ors);
        self.write_out(&text, redirect)
    }

    fn printf(&mut self, args: &[Expr], redirect: Option<&Redirect>) -> Run<()> {
        let text = self.format_args(args)?;
        self.write_out(&text, redirect)
    }

    /// Formats values. The first expression is the format.
    pub(super) fn format_args(&mut self, args: &[Expr]) -> Run<Vec<u8>> {
        let values: Vec<Value> = args.iter().map(|arg| self.eval(arg)).collect::<Run<_>>()?;
        let Some((first, values)) = values.split_first() else { return Ok(Vec::new()) };
        let convfmt = &self.settings.convfmt;
        format(&first.to_text(convfmt), values, convfmt).map_err(Stop::Fault)
    }
}

//! Runs a program: its rules over the records, and statements.

use super::ast::{Expr, Kind, Pattern, Redirect, Rule, Stmt};
use super::format::format;
use super::input::{Ending, Input};
use super::interpreter::{Interpreter, Run, Stop, fault};
use super::output::{Target, shell};
use super::value::{self, Text, Value};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::rc::Rc;

/// How a statement ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flow {
    On,
    Break,
    Continue,
    Return,
}

impl Interpreter<'_> {
    /// Runs the whole program; the exit code is in `exit_code`.
    ///
    /// # Errors
    /// The message of a fault, which ends the program.
    pub(super) fn run(&mut self) -> Result<(), String> {
        let program = self.program;
        let read = !program.rules.is_empty() || !program.end.is_empty();
        let begun = self.actions(&program.begin)?;
        if begun && read {
            self.records()?;
        }
        self.actions(&program.end)?;
        self.main = None;
        Ok(())
    }

    /// Runs actions of BEGIN or END. Returns whether the program goes on: `exit` ends it.
    fn actions(&mut self, actions: &[Vec<Stmt>]) -> Result<bool, String> {
        for action in actions {
            match self.block(action) {
                Ok(_) => {}
                Err(Stop::Exit) => return Ok(false),
                Err(Stop::Fault(text)) => return Err(text),
                Err(Stop::Next | Stop::NextFile) => return Err("next is used in BEGIN or END".into()),
            }
        }
        Ok(true)
    }

    fn records(&mut self) -> Result<(), String> {
        let program = self.program;
        loop {
            let stop = match self.main_record() {
                Ok(Some(record)) => {
                    self.record.set(Rc::from(record));
                    program.rules.iter().try_for_each(|rule| self.rule(rule)).err()
                }
                Ok(None) => return Ok(()),
                Err(stop) => Some(stop),
            };
            match stop {
                None | Some(Stop::Next) => {}
                Some(Stop::NextFile) => self.main = None,
                Some(Stop::Exit) => return Ok(()),
                Some(Stop::Fault(text)) => return Err(text),
            }
            self.stack.clear();
            self.base = 0;
        }
    }

    fn rule(&mut self, rule: &Rule) -> Run<()> {
        self.line = rule.line;
        let applies = match &rule.pattern {
            Pattern::Always => true,
            Pattern::Expr(expr) => self.truth(expr)?,
            Pattern::Range(first, last, number) => {
                let open = self.ranges[*number] || self.truth(first)?;
                if open {
                    self.ranges[*number] = !self.truth(last)?;
                }
                open
            }
        };
        match &rule.action {
            Some(action) if applies => self.block(action).map(drop),
            None if applies => self.print(&[], None),
            _ => Ok(()),
        }
    }

    pub(super) fn block(&mut self, statements: &[Stmt]) -> Run<Flow> {
        for statement in statements {
            let flow = self.statement(statement)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn statement(&mut self, statement: &Stmt) -> Run<Flow> {
        self.line = statement.line;
        self.enter()?;
        let flow = self.statement_nested(&statement.kind);
        self.leave();
        flow
    }

    fn statement_nested(&mut self, kind: &Kind) -> Run<Flow> {
        match kind {
            Kind::Expr(expr) => self.eval(expr).map(drop)?,
            Kind::Print(args, redirect) => self.print(args, redirect.as_ref())?,
            Kind::Printf(args, redirect) => self.printf(args, redirect.as_ref())?,
            Kind::If(condition, then, other) => {
                return match (self.truth(condition)?, other) {
                    (true, _) => self.statement(then),
                    (false, Some(other)) => self.statement(other),
                    (false, None) => Ok(Flow::On),
                };
            }
            Kind::While(condition, body) => return self.repeat(None, Some(condition), None, body),
            Kind::Do(body, condition) => {
                let flow = self.statement(body)?;
                return match flow {
                    Flow::Break => Ok(Flow::On),
                    Flow::Return => Ok(Flow::Return),
                    _ => self.repeat(None, Some(condition), None, body),
                };
            }
            Kind::For(init, condition, update, body) => {
                return self.repeat(init.as_deref(), condition.as_ref(), update.as_deref(), body);
            }
            Kind::ForIn(var, array, body) => {
                let array = self.array(*array)?;
                // As in the other awks, the loop is over the elements that exist when it begins.
                let keys: Vec<Text> = array.borrow().keys().cloned().collect();
                for key in keys {
                    self.set_var(*var, Value::Input(key))?;
                    match self.statement(body)? {
                        Flow::Break => break,
                        Flow::Return => return Ok(Flow::Return),
                        _ => {}
                    }
                }
            }
            Kind::Block(statements) => return self.block(statements),
            Kind::Break => return Ok(Flow::Break),
            Kind::Continue => return Ok(Flow::Continue),
            Kind::Next => return Err(Stop::Next),
            Kind::NextFile => return Err(Stop::NextFile),
            Kind::Exit(code) => {
                if let Some(code) = code {
                    self.exit_code = (self.number(code)? as i64 & 0xff) as i32;
                }
                return Err(Stop::Exit);
            }
            Kind::Return(value) => {
                self.returned = value.as_ref().map_or(Ok(Value::Unset), |value| self.eval(value))?;
                return Ok(Flow::Return);
            }
            Kind::Delete(array, subscripts) => {
                let array = self.array(*array)?;
                if subscripts.is_empty() {
                    array.borrow_mut().clear();
                } else {
                    let key = self.subscript(subscripts)?;
                    array.borrow_mut().swap_remove(&key);
                }
            }
        }
        Ok(Flow::On)
    }

    fn repeat(
        &mut self,
        init: Option<&Stmt>,
        condition: Option<&Expr>,
        update: Option<&Stmt>,
        body: &Stmt,
    ) -> Run<Flow> {
        if let Some(init) = init {
            self.statement(init)?;
        }
        while condition.map_or(Ok(true), |condition| self.truth(condition))? {
            match self.statement(body)? {
                Flow::Break => break,
                Flow::Return => return Ok(Flow::Return),
                Flow::On | Flow::Continue => {}
            }
            if let Some(update) = update {
                self.statement(update)?;
            }
        }
        Ok(Flow::On)
    }

    fn print(&mut self, args: &[Expr], redirect: Option<&Redirect>) -> Run<()> {
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
        let text = self.formatted(args)?;
        self.write_out(&text, redirect)
    }

    /// The first expression is the format.
    pub(super) fn formatted(&mut self, args: &[Expr]) -> Run<Vec<u8>> {
        let values: Vec<Value> = args.iter().map(|arg| self.eval(arg)).collect::<Run<_>>()?;
        let Some((first, values)) = values.split_first() else { return Ok(Vec::new()) };
        let convfmt = &self.settings.convfmt;
        format(&first.to_text(convfmt), values, convfmt).map_err(Stop::Fault)
    }

    fn write_out(&mut self, text: &[u8], redirect: Option<&Redirect>) -> Run<()> {
        let (target, name) = match redirect {
            None => {
                let written = self.outputs.print(text);
                return written.or_else(|e| fault(format!("write error: {}", super::super::reason(&e))));
            }
            Some(Redirect::Truncate(name)) => (Target::Truncate, name),
            Some(Redirect::Append(name)) => (Target::Append, name),
            Some(Redirect::Command(name)) => (Target::Command, name),
        };
        let name = self.text(name)?;
        self.outputs.print_to(&name, target, text).or_else(|e| {
            fault(format!("cannot write to {}: {}", String::from_utf8_lossy(&name), super::super::reason(&e)))
        })
    }

    pub(super) fn count_record(&mut self, in_file: bool) {
        let number = self.global_number(value::NR);
        self.set_number(value::NR, number + 1.0);
        if in_file {
            let number = self.global_number(value::FNR);
            self.set_number(value::FNR, number + 1.0);
        }
    }

    /// The next record of the operands, counted; `None` after the last one.
    pub(super) fn main_record(&mut self) -> Run<Option<Vec<u8>>> {
        loop {
            if self.main.is_none() && !self.open_next()? {
                return Ok(None);
            }
            let Some(input) = &mut self.main else { return Ok(None) };
            match input.record(&self.settings.ending) {
                Ok(Some(record)) => {
                    self.count_record(true);
                    return Ok(Some(record));
                }
                Ok(None) => self.main = None,
                Err(e) => {
                    let name = self.var(super::ast::Var::Global(value::FILENAME))?;
                    self.complain(&name.to_text(b""), &e);
                    self.main = None;
                }
            }
        }
    }

    /// A file that cannot be read. The program goes on and ends with 2.
    fn complain(&mut self, name: &[u8], error: &io::Error) {
        let _ = self.outputs.flush_all(); // messages come after what was printed before them
        let name = String::from_utf8_lossy(name);
        super::super::err(&format!("awk: {name}: {}\n", super::super::reason(error)));
        self.exit_code = 2;
    }

    /// Opens the next operand that is a file. Without any, standard input is read once.
    fn open_next(&mut self) -> Run<bool> {
        while (self.next_operand as f64) < self.global_number(value::ARGC) {
            let key = self.next_operand.to_string().into_bytes();
            self.next_operand += 1;
            let argv = self.array(super::ast::Var::Global(value::ARGV))?;
            let operand = argv.borrow().get(&key[..]).map(|value| value.to_text(b"%.6g"));
            let Some(operand) = operand.filter(|operand| !operand.is_empty()) else { continue };
            if let Some((name, value)) = super::assignment(&operand) {
                self.assign_operand(name, value)?;
                continue;
            }
            self.any_operand = true;
            self.set_filename(&operand);
            let reader: Box<dyn io::Read> = match open(&operand) {
                Ok(reader) => reader,
                Err(e) => {
                    self.complain(&operand, &e);
                    continue;
                }
            };
            self.begin_file(reader);
            return Ok(true);
        }
        if self.any_operand {
            return Ok(false);
        }
        self.any_operand = true;
        self.begin_file(Box::new(io::stdin()));
        Ok(true)
    }

    fn begin_file(&mut self, reader: Box<dyn io::Read>) {
        self.set_number(value::FNR, 0.0);
        self.main = Some(Input::new(reader, None));
    }

    /// The next record of a file or of a command's output.
    pub(super) fn read_from(&mut self, command: bool, name: &Text) -> Run<io::Result<Option<Vec<u8>>>> {
        let key = (command, Rc::clone(name));
        if !self.inputs.contains_key(&key) {
            let _ = self.outputs.flush_all(); // a fault of writing is seen at the next write
            let input = if command { start(name) } else { open(name).map(|reader| Input::new(reader, None)) };
            match input {
                Ok(input) => drop(self.inputs.insert(key.clone(), input)),
                Err(e) => return Ok(Err(e)),
            }
        }
        let ending: &Ending = &self.settings.ending;
        Ok(self.inputs.get_mut(&key).map_or(Ok(None), |input| input.record(ending)))
    }
}

/// A file; `-` is standard input.
fn open(name: &[u8]) -> io::Result<Box<dyn io::Read>> {
    match name {
        b"-" | b"/dev/stdin" => Ok(Box::new(io::stdin())),
        name => Ok(Box::new(File::open(OsStr::from_bytes(name))?)),
    }
}

/// A command whose output is read.
fn start(command: &[u8]) -> io::Result<Input> {
    let mut child = shell(command).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    Ok(Input::new(Box::new(output), Some(child)))
}

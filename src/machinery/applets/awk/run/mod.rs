//! Runs a program: `BEGIN`, the rules over each record, `END`. The interpreter walks the syntax
//! tree; what each part does is in the files beside this one.

mod builtins;
mod expressions;
pub(super) mod format;
mod input;
mod output;
mod record;
mod statements;
pub(super) mod value;
pub(super) mod variables;

use super::parse::ast::{Pattern, Program, Rule, Stmt};
use super::regex::Regex;
use super::stack::Stack;
use indexmap::IndexMap;
use input::{Ending, Input};
use output::Outputs;
use record::{MAX_FIELD, Record, Separator};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use value::{Text, Value, number_text};

/// Regular expressions made of strings that are kept compiled. All are dropped when there are more.
const MAX_REGEXES: usize = 200;

/// Elements in the order in which they came, until one is deleted.
type Array = IndexMap<Text, Value>;

/// What a variable holds.
#[derive(Debug, Clone)]
enum Cell {
    /// The variable is not used yet. Its first use makes it a value or an array.
    Unset,
    Value(Value),
    Array(Rc<RefCell<Array>>),
}

/// Why the evaluation stops.
#[derive(Debug)]
pub(super) enum Stop {
    Next,
    NextFile,
    Exit,
    Fault(String),
}

pub(super) type Run<T> = Result<T, Stop>;

fn fault<T>(text: impl Into<String>) -> Run<T> {
    Err(Stop::Fault(text.into()))
}

/// The variables that separate and format, as they are now.
struct Settings {
    separator: Separator,
    ending: Ending,
    ofs: Text,
    ors: Text,
    subsep: Text,
    convfmt: Text,
    ofmt: Text,
}

impl Default for Settings {
    fn default() -> Settings {
        let text = |text: &[u8]| Text::from(text);
        Settings {
            separator: Separator::Blanks,
            ending: Ending::Byte(b'\n'),
            ofs: text(b" "),
            ors: text(b"\n"),
            subsep: text(b"\x1c"),
            convfmt: text(b"%.6g"),
            ofmt: text(b"%.6g"),
        }
    }
}

pub(super) struct Interpreter<'p> {
    program: &'p Program,
    globals: Vec<Cell>,
    /// The parameters of all functions that run, those of the innermost one from `base` on.
    stack: Vec<Cell>,
    base: usize,
    /// The function that runs, and how many calls are open.
    function: Option<usize>,
    calls: usize,
    thread_stack: Stack,
    record: Record,
    settings: Settings,
    outputs: Outputs,
    /// Files and commands that `getline` reads; the bool says whether it is a command.
    inputs: IndexMap<(bool, Text), Input>,
    /// The operand that is read, and the number of the next one.
    main: Option<Input>,
    next_operand: usize,
    /// Whether a file operand was seen, or standard input is read because there is none.
    input_chosen: bool,
    regexes: HashMap<Text, Rc<Regex>>,
    /// Whether each range pattern is open.
    ranges: Vec<bool>,
    /// The line of the statement that runs; 0 between rules.
    pub(super) line: usize,
    /// Value of the last `return`.
    returned: Value,
    /// State of `rand`, and the last argument of `srand`.
    random: u64,
    seed: f64,
    pub(super) exit_code: i32,
    /// Whether each of `variables::UNHEEDED` was warned of, and its place in `globals` if it has
    /// one.
    unheeded: [(bool, Option<usize>); variables::UNHEEDED.len()],
}

impl<'p> Interpreter<'p> {
    /// `thread_stack` bounds how deep expressions, statements and calls nest while they run.
    pub(super) fn new(program: &'p Program, thread_stack: Stack) -> Interpreter<'p> {
        let mut interpreter = Interpreter {
            program,
            globals: vec![Cell::Unset; program.globals.len()],
            stack: Vec::new(),
            base: 0,
            function: None,
            calls: 0,
            thread_stack,
            record: Record::default(),
            settings: Settings::default(),
            outputs: Outputs::new(),
            inputs: IndexMap::new(),
            main: None,
            next_operand: 1,
            input_chosen: false,
            regexes: HashMap::new(),
            ranges: vec![false; program.ranges],
            line: 0,
            returned: Value::Unset,
            random: 0x9e37_79b9_7f4a_7c15,
            seed: 0.0,
            exit_code: 0,
            unheeded: variables::UNHEEDED
                .map(|name| (false, program.globals.iter().position(|global| global == name))),
        };
        interpreter.set_initial_values();
        interpreter
    }

    /// Runs the whole program; the exit code is in `exit_code`.
    ///
    /// # Errors
    /// The message of a fault, which ends the program.
    pub(super) fn run(&mut self) -> Result<(), String> {
        let program = self.program;
        let read = !program.rules.is_empty() || !program.end.is_empty();
        let begun = self.run_actions(&program.begin)?;
        if begun && read {
            self.run_records()?;
        }
        self.run_actions(&program.end)?;
        self.main = None;
        Ok(())
    }

    /// Runs actions of BEGIN or END. Returns whether the program goes on: `exit` ends it.
    fn run_actions(&mut self, actions: &[Vec<Stmt>]) -> Result<bool, String> {
        for action in actions {
            match self.run_block(action) {
                Ok(_) => {}
                Err(Stop::Exit) => return Ok(false),
                Err(Stop::Fault(text)) => return Err(text),
                Err(Stop::Next | Stop::NextFile) => return Err("next is used in BEGIN or END".into()),
            }
        }
        Ok(true)
    }

    fn run_records(&mut self) -> Result<(), String> {
        let program = self.program;
        loop {
            self.line = 0; // a file that cannot be opened is no fault of the last rule
            let stop = match self.main_record() {
                Ok(Some(record)) => {
                    self.record.read(Rc::from(record));
                    program.rules.iter().try_for_each(|rule| self.run_rule(rule)).err()
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

    fn run_rule(&mut self, rule: &Rule) -> Run<()> {
        self.line = rule.line;
        let applies = match &rule.pattern {
            Pattern::Always => true,
            Pattern::Expr(expr) => self.eval_truth(expr)?,
            Pattern::Range(first, last, number) => {
                let open = self.ranges[*number] || self.eval_truth(first)?;
                if open {
                    self.ranges[*number] = !self.eval_truth(last)?;
                }
                open
            }
        };
        match &rule.action {
            Some(action) if applies => self.run_block(action).map(drop),
            None if applies => self.print(&[], None),
            _ => Ok(()),
        }
    }
}

impl Interpreter<'_> {
    /// Returns how a text separates that is the value of FS or the third argument of `split`.
    fn parse_separator(&mut self, text: &Text) -> Run<Separator> {
        Ok(match &text[..] {
            b" " => Separator::Blanks,
            [] => Separator::Nothing,
            [byte] => Separator::Byte(*byte),
            _ => Separator::Regex(self.compile_regex(text)?),
        })
    }

    /// Compiles a string as a regular expression, unless it is still kept compiled.
    fn compile_regex(&mut self, pattern: &Text) -> Run<Rc<Regex>> {
        if let Some(regex) = self.regexes.get(pattern) {
            return Ok(Rc::clone(regex));
        }
        let regex = Rc::new(Regex::new(pattern).map_err(Stop::Fault)?);
        if self.regexes.len() >= MAX_REGEXES {
            self.regexes.clear();
        }
        self.regexes.insert(Rc::clone(pattern), Rc::clone(&regex));
        Ok(regex)
    }

    fn is_paragraph_mode(&self) -> bool {
        matches!(self.settings.ending, Ending::Paragraph)
    }

    fn split_record(&mut self) {
        if !self.record.is_split() {
            let lines = self.is_paragraph_mode();
            self.record.split(&self.settings.separator, lines);
        }
    }

    fn whole_record(&mut self) -> Text {
        self.record.text(&self.settings.ofs, &self.settings.convfmt)
    }

    fn read_field(&mut self, number: f64) -> Run<Value> {
        match field_number(number)? {
            0 => {
                self.whole_record();
                Ok(self.record.value())
            }
            number => {
                self.split_record();
                Ok(self.record.field(number))
            }
        }
    }

    fn set_field(&mut self, number: f64, value: Value) -> Run<()> {
        match field_number(number)? {
            0 => self.record.assign(value, &self.settings.convfmt),
            number => {
                self.split_record();
                self.record.set_field(number, value);
            }
        }
        Ok(())
    }

    /// Checks the depth, wherever expressions, statements or calls contain each other.
    ///
    /// # Errors
    /// A fault if the thread's stack has no room for another level.
    fn check_depth(&self) -> Run<()> {
        if self.thread_stack.has_room() {
            return Ok(());
        }
        let size = self.thread_stack.mebibytes();
        match self.function {
            Some(function) => {
                let name = &self.program.functions[function].name;
                let calls = self.calls;
                fault(format!(
                    "function {name} is nested too deeply: {calls} calls fill the stack of {size} MiB"
                ))
            }
            None => fault(format!("the expression is nested too deeply for the stack of {size} MiB")),
        }
    }
}

/// Returns the number of a field.
fn field_number(number: f64) -> Run<usize> {
    let whole = number.trunc();
    if !(0.0..=MAX_FIELD as f64).contains(&whole) {
        return fault(format!("the field number {} is out of range", display_number(number)));
    }
    Ok(whole as usize)
}

fn display_number(number: f64) -> String {
    String::from_utf8_lossy(&number_text(number, b"%.6g")).into_owned()
}

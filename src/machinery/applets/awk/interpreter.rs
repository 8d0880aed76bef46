//! The state of a program that runs, and its variables.

use super::ast::{Program, Var};
use super::input::{Ending, Input};
use super::output::Outputs;
use super::record::{MAX_FIELD, Record, Separator};
use super::regex::Regex;
use super::value::{self, Text, Value};
use indexmap::IndexMap;
use std::cell::RefCell;
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

/// Regular expressions that are made of strings and kept.
const MAX_REGEXES: usize = 200;

/// Elements in the order in which they came, until one is deleted.
pub(super) type Array = IndexMap<Text, Value>;

/// What a variable holds.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    /// Not used yet: it becomes what it is used as.
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

pub(super) fn fault<T>(text: impl Into<String>) -> Run<T> {
    Err(Stop::Fault(text.into()))
}

/// The variables that separate and format, as they are now.
pub(super) struct Settings {
    pub separator: Separator,
    pub ending: Ending,
    pub ofs: Text,
    pub ors: Text,
    pub subsep: Text,
    pub convfmt: Text,
    pub ofmt: Text,
}

pub(super) struct Interpreter<'p> {
    pub program: &'p Program,
    globals: Vec<Cell>,
    pub stack: Vec<Cell>,
    /// Where the parameters of the function that runs begin in `stack`.
    pub base: usize,
    pub record: Record,
    pub settings: Settings,
    pub outputs: Outputs,
    /// Files and commands that `getline` reads; the bool says whether it is a command.
    pub inputs: IndexMap<(bool, Text), Input>,
    /// The operand that is read, and the number of the next one.
    pub main: Option<Input>,
    pub next_operand: usize,
    pub any_operand: bool,
    regexes: HashMap<Text, Rc<Regex>>,
    pub ranges: Vec<bool>,
    /// The line of the statement that runs.
    pub line: usize,
    depth: usize,
    max_depth: usize,
    /// What `return` gave.
    pub returned: Value,
    /// State of `rand`, and what `srand` was called with.
    pub random: u64,
    pub seed: f64,
    pub exit_code: i32,
    /// Whether each of `value::UNHEEDED` was warned of, and its place in `globals` if it has one.
    unheeded: [(bool, Option<usize>); value::UNHEEDED.len()],
}

impl<'p> Interpreter<'p> {
    /// `max_depth` bounds how deep expressions, statements and calls nest while they run.
    pub(super) fn new(program: &'p Program, max_depth: usize) -> Interpreter<'p> {
        let text = |text: &[u8]| Text::from(text);
        let mut interpreter = Interpreter {
            program,
            globals: vec![Cell::Unset; program.globals.len()],
            stack: Vec::new(),
            base: 0,
            record: Record::default(),
            settings: Settings {
                separator: Separator::Blanks,
                ending: Ending::Byte(b'\n'),
                ofs: text(b" "),
                ors: text(b"\n"),
                subsep: text(b"\x1c"),
                convfmt: text(b"%.6g"),
                ofmt: text(b"%.6g"),
            },
            outputs: Outputs::new(),
            inputs: IndexMap::new(),
            main: None,
            next_operand: 1,
            any_operand: false,
            regexes: HashMap::new(),
            ranges: vec![false; program.ranges],
            line: 0,
            depth: 0,
            max_depth,
            returned: Value::Unset,
            random: 0x9e37_79b9_7f4a_7c15,
            seed: 0.0,
            exit_code: 0,
            unheeded: value::UNHEEDED
                .map(|name| (false, program.globals.iter().position(|global| global == name))),
        };
        let texts: [(usize, &[u8]); 7] = [
            (value::FS, b" "),
            (value::OFS, b" "),
            (value::ORS, b"\n"),
            (value::RS, b"\n"),
            (value::SUBSEP, b"\x1c"),
            (value::CONVFMT, b"%.6g"),
            (value::OFMT, b"%.6g"),
        ];
        for (place, text) in texts {
            interpreter.globals[place] = Cell::Value(Value::text(text));
        }
        for (place, number) in
            [(value::NR, 0.0), (value::FNR, 0.0), (value::RSTART, 0.0), (value::RLENGTH, -1.0)]
        {
            interpreter.set_number(place, number);
        }
        interpreter
    }

    /// Fills ARGV, ARGC and ENVIRON.
    pub(super) fn set_arguments(&mut self, operands: &[Vec<u8>]) {
        let mut argv = Array::new();
        argv.insert(Text::from(&b"0"[..]), Value::text(b"awk"));
        for (at, operand) in operands.iter().enumerate() {
            argv.insert(Text::from((at + 1).to_string().into_bytes()), Value::input(operand));
        }
        self.set_number(value::ARGC, argv.len() as f64);
        self.globals[value::ARGV] = Cell::Array(Rc::new(RefCell::new(argv)));
        let environ = std::env::vars_os()
            .map(|(name, value)| (Text::from(name.as_bytes()), Value::input(value.as_bytes())))
            .collect();
        self.globals[value::ENVIRON] = Cell::Array(Rc::new(RefCell::new(environ)));
    }

    /// Carries out `name=value` of the command line. Its value is a text from outside.
    pub(super) fn assign_operand(&mut self, name: &str, raw: &[u8]) -> Run<()> {
        if self.program.functions.iter().any(|function| function.name == name) {
            return fault(format!("cannot assign to the function {name}"));
        }
        if let Some(which) = value::UNHEEDED.iter().position(|known| *known == name) {
            self.warn_of(which); // also if the program does not use it: gawk itself would
        }
        // A variable that the program does not use needs no value.
        match self.program.globals.iter().position(|global| global == name) {
            Some(place) => self.set_var(Var::Global(place), Value::input(&value::unescape(raw))),
            None => Ok(()),
        }
    }

    pub(super) fn set_number(&mut self, place: usize, number: f64) {
        self.globals[place] = Cell::Value(Value::Number(number));
    }

    pub(super) fn global_number(&self, place: usize) -> f64 {
        match &self.globals[place] {
            Cell::Value(value) => value.number(),
            _ => 0.0,
        }
    }

    pub(super) fn set_filename(&mut self, name: &[u8]) {
        self.globals[value::FILENAME] = Cell::Value(Value::input(name));
    }

    pub(super) fn cell(&mut self, var: Var) -> &mut Cell {
        match var {
            Var::Global(place) => &mut self.globals[place],
            Var::Local(place) => &mut self.stack[self.base + place],
        }
    }

    fn name(&self, var: Var) -> String {
        match var {
            Var::Global(place) => self.program.globals.get(place).cloned().unwrap_or_default(),
            Var::Local(place) => format!("parameter {}", place + 1),
        }
    }

    pub(super) fn var(&mut self, var: Var) -> Run<Value> {
        if var == Var::Global(value::NF) {
            self.split_record();
            return Ok(Value::Number(self.record.count() as f64));
        }
        match self.cell(var) {
            Cell::Unset => Ok(Value::Unset),
            Cell::Value(value) => Ok(value.clone()),
            Cell::Array(_) => fault(format!("{} is an array and used as a value", self.name(var))),
        }
    }

    pub(super) fn set_var(&mut self, var: Var, value: Value) -> Run<()> {
        if let Var::Global(place) = var
            && place <= value::OFMT
        {
            self.set_special(place, &value)?;
        }
        let is_it = |(_, place): &(bool, Option<usize>)| place.map(Var::Global) == Some(var);
        if let Some(which) = self.unheeded.iter().position(is_it) {
            self.warn_of(which);
        }
        let cell = self.cell(var);
        if let Cell::Array(_) = cell {
            return fault(format!("{} is an array and used as a value", self.name(var)));
        }
        *cell = Cell::Value(value);
        Ok(())
    }

    /// Says once that one of `value::UNHEEDED` does nothing.
    fn warn_of(&mut self, which: usize) {
        if let (Some((warned, _)), Some(name)) = (self.unheeded.get_mut(which), value::UNHEEDED.get(which))
            && !std::mem::replace(warned, true)
        {
            crate::err(&format!("awk: warning: {name} has no effect here (only gawk knows it)\n"));
        }
    }

    fn set_special(&mut self, place: usize, value: &Value) -> Run<()> {
        let text = value.to_text(&self.settings.convfmt);
        match place {
            value::NF => {
                let count = field_number(value.number())?;
                self.split_record();
                self.record.set_count(count);
            }
            value::FS => {
                // The record that is read already is split as FS was.
                self.split_record();
                self.settings.separator = self.separator(&text)?;
            }
            value::RS => {
                self.settings.ending = match &text[..] {
                    [] => Ending::Paragraph,
                    [byte] => Ending::Byte(*byte),
                    _ => Ending::Regex(self.regex(&text)?),
                }
            }
            value::OFS => self.settings.ofs = text,
            value::ORS => self.settings.ors = text,
            value::SUBSEP => self.settings.subsep = text,
            value::CONVFMT => self.settings.convfmt = text,
            value::OFMT => self.settings.ofmt = text,
            _ => {}
        }
        Ok(())
    }

    /// The array of a variable, which becomes one if it is not used yet.
    pub(super) fn array(&mut self, var: Var) -> Run<Rc<RefCell<Array>>> {
        let cell = self.cell(var);
        match cell {
            Cell::Array(array) => Ok(Rc::clone(array)),
            Cell::Unset | Cell::Value(Value::Unset) => {
                let array = Rc::new(RefCell::new(Array::new()));
                *cell = Cell::Array(Rc::clone(&array));
                Ok(array)
            }
            Cell::Value(_) => fault(format!("{} is a value and used as an array", self.name(var))),
        }
    }

    /// What a separator as FS has it means.
    pub(super) fn separator(&mut self, text: &Text) -> Run<Separator> {
        Ok(match &text[..] {
            b" " => Separator::Blanks,
            [] => Separator::Nothing,
            [byte] => Separator::Byte(*byte),
            _ => Separator::Regex(self.regex(text)?),
        })
    }

    /// The regular expression that a string is.
    pub(super) fn regex(&mut self, pattern: &Text) -> Run<Rc<Regex>> {
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

    pub(super) fn paragraphs(&self) -> bool {
        matches!(self.settings.ending, Ending::Paragraph)
    }

    pub(super) fn split_record(&mut self) {
        if !self.record.is_split() {
            let lines = self.paragraphs();
            self.record.split(&self.settings.separator, lines);
        }
    }

    pub(super) fn whole_record(&mut self) -> Text {
        self.record.text(&self.settings.ofs, &self.settings.convfmt)
    }

    pub(super) fn field(&mut self, number: f64) -> Run<Value> {
        match field_number(number)? {
            0 => Ok(Value::Input(self.whole_record())),
            number => {
                self.split_record();
                Ok(self.record.field(number))
            }
        }
    }

    pub(super) fn set_field(&mut self, number: f64, value: Value) -> Run<()> {
        match field_number(number)? {
            0 => self.record.set(value.to_text(&self.settings.convfmt)),
            number => {
                self.split_record();
                self.record.set_field(number, value);
            }
        }
        Ok(())
    }

    /// Counts one level more of what is evaluated.
    pub(super) fn enter(&mut self) -> Run<()> {
        if self.depth >= self.max_depth {
            return fault("functions or expressions are nested too deeply");
        }
        self.depth += 1;
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }
}

/// The number of a field.
pub(super) fn field_number(number: f64) -> Run<usize> {
    let whole = number.trunc();
    if !(0.0..=MAX_FIELD as f64).contains(&whole) {
        return fault(format!("the field number {} is out of range", display(number)));
    }
    Ok(whole as usize)
}

fn display(number: f64) -> String {
    String::from_utf8_lossy(&value::number_text(number, b"%.6g")).into_owned()
}

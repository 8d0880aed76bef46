//! Variables: where each is kept, and what setting a special one (FS, NF, OFS, …) does.

use super::input::Ending;
use super::value::{self, Text, Value};
use super::{Array, Cell, Interpreter, Run, fault, field_number};
use crate::awk::parse::ast::Var;
use std::cell::RefCell;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

/// Variables with a meaning of their own; each stands in the table of globals at its place here.
pub(in crate::awk) const SPECIAL: [&str; 16] = [
    "NF", "NR", "FNR", "FS", "OFS", "ORS", "RS", "SUBSEP", "CONVFMT", "OFMT", "RSTART", "RLENGTH",
    "FILENAME", "ENVIRON", "ARGC", "ARGV",
];
/// Variables of gawk that change how a program reads or compares, and that no other awk knows. Here
/// they are ordinary variables, as POSIX has it, so a program that sets one is warned.
pub(super) const UNHEEDED: [&str; 3] = ["FPAT", "FIELDWIDTHS", "IGNORECASE"];
pub(super) const NF: usize = 0;
pub(super) const NR: usize = 1;
pub(super) const FNR: usize = 2;
pub(super) const FS: usize = 3;
pub(super) const OFS: usize = 4;
pub(super) const ORS: usize = 5;
pub(super) const RS: usize = 6;
pub(super) const SUBSEP: usize = 7;
pub(super) const CONVFMT: usize = 8;
pub(super) const OFMT: usize = 9;
pub(super) const RSTART: usize = 10;
pub(super) const RLENGTH: usize = 11;
pub(super) const FILENAME: usize = 12;
pub(super) const ENVIRON: usize = 13;
pub(super) const ARGC: usize = 14;
pub(super) const ARGV: usize = 15;

impl Interpreter<'_> {
    /// Gives the special variables the values that POSIX says.
    pub(super) fn set_initial_values(&mut self) {
        let texts: [(usize, &[u8]); 7] = [
            (FS, b" "),
            (OFS, b" "),
            (ORS, b"\n"),
            (RS, b"\n"),
            (SUBSEP, b"\x1c"),
            (CONVFMT, b"%.6g"),
            (OFMT, b"%.6g"),
        ];
        for (place, text) in texts {
            self.globals[place] = Cell::Value(Value::text(text));
        }
        for (place, number) in [(NR, 0.0), (FNR, 0.0), (RSTART, 0.0), (RLENGTH, -1.0)] {
            self.set_number(place, number);
        }
    }

    /// Fills ARGV, ARGC and ENVIRON.
    pub(in crate::awk) fn set_arguments(&mut self, operands: &[Vec<u8>]) {
        let mut argv = Array::new();
        argv.insert(Text::from(&b"0"[..]), Value::text(b"awk"));
        for (at, operand) in operands.iter().enumerate() {
            argv.insert(Text::from((at + 1).to_string().into_bytes()), Value::input(operand));
        }
        self.set_number(ARGC, argv.len() as f64);
        self.globals[ARGV] = Cell::Array(Rc::new(RefCell::new(argv)));
        let environ = std::env::vars_os()
            .map(|(name, value)| (Text::from(name.as_bytes()), Value::input(value.as_bytes())))
            .collect();
        self.globals[ENVIRON] = Cell::Array(Rc::new(RefCell::new(environ)));
    }

    /// Carries out `name=value` of the command line. Its value is a text from outside.
    pub(in crate::awk) fn assign_operand(&mut self, name: &str, raw: &[u8]) -> Run<()> {
        if self.program.functions.iter().any(|function| function.name == name) {
            return fault(format!("cannot assign to the function {name}"));
        }
        if let Some(which) = UNHEEDED.iter().position(|known| *known == name) {
            self.warn_of(which); // also if the program does not use it: gawk itself would
        }
        // A variable that the program does not use needs no value.
        match self.program.globals.iter().position(|global| global == name) {
            Some(place) => self.set_variable(Var::Global(place), Value::input(&value::unescape(raw))),
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
        self.globals[FILENAME] = Cell::Value(Value::input(name));
    }

    pub(super) fn variable_cell(&mut self, var: Var) -> &mut Cell {
        match var {
            Var::Global(place) => &mut self.globals[place],
            Var::Local(place) => &mut self.stack[self.base + place],
        }
    }

    fn variable_name(&self, var: Var) -> String {
        match var {
            Var::Global(place) => self.program.globals.get(place).cloned().unwrap_or_default(),
            Var::Local(place) => format!("parameter {}", place + 1),
        }
    }

    pub(in crate::awk) fn read_variable(&mut self, var: Var) -> Run<Value> {
        if var == Var::Global(NF) {
            self.split_record();
            return Ok(Value::Number(self.record.count() as f64));
        }
        match self.variable_cell(var) {
            Cell::Unset => Ok(Value::Unset),
            Cell::Value(value) => Ok(value.clone()),
            Cell::Array(_) => fault(format!("{} is an array and used as a value", self.variable_name(var))),
        }
    }

    pub(super) fn set_variable(&mut self, var: Var, value: Value) -> Run<()> {
        if let Var::Global(place) = var
            && place <= OFMT
        {
            self.set_special(place, &value)?;
        }
        let is_it = |(_, place): &(bool, Option<usize>)| place.map(Var::Global) == Some(var);
        if let Some(which) = self.unheeded.iter().position(is_it) {
            self.warn_of(which);
        }
        let cell = self.variable_cell(var);
        if let Cell::Array(_) = cell {
            return fault(format!("{} is an array and used as a value", self.variable_name(var)));
        }
        *cell = Cell::Value(value);
        Ok(())
    }

    /// Says once that one of `UNHEEDED` does nothing.
    fn warn_of(&mut self, which: usize) {
        if let (Some((warned, _)), Some(name)) = (self.unheeded.get_mut(which), UNHEEDED.get(which))
            && !std::mem::replace(warned, true)
        {
            crate::write_stderr(&format!("awk: warning: {name} has no effect here (only gawk knows it)\n"));
        }
    }

    fn set_special(&mut self, place: usize, value: &Value) -> Run<()> {
        let text = value.to_text(&self.settings.convfmt);
        match place {
            NF => {
                let count = field_number(value.number())?;
                self.split_record();
                self.record.set_count(count);
            }
            FS => {
                // The record that is read already is split as FS was.
                self.split_record();
                self.settings.separator = self.parse_separator(&text)?;
            }
            RS => {
                self.settings.ending = match &text[..] {
                    [] => Ending::Paragraph,
                    [byte] => Ending::Byte(*byte),
                    _ => Ending::Regex(self.compile_regex(&text)?),
                }
            }
            OFS => {
                // A record whose fields have changed is joined as OFS was; so with CONVFMT.
                self.whole_record();
                self.settings.ofs = text;
            }
            ORS => self.settings.ors = text,
            SUBSEP => self.settings.subsep = text,
            CONVFMT => {
                self.whole_record();
                self.settings.convfmt = text;
            }
            OFMT => self.settings.ofmt = text,
            _ => {}
        }
        Ok(())
    }

    /// Returns the array of a variable, which becomes one if it is not used yet.
    pub(super) fn get_or_create_array(&mut self, var: Var) -> Run<Rc<RefCell<Array>>> {
        let cell = self.variable_cell(var);
        match cell {
            Cell::Array(array) => Ok(Rc::clone(array)),
            Cell::Unset | Cell::Value(Value::Unset) => {
                let array = Rc::new(RefCell::new(Array::new()));
                *cell = Cell::Array(Rc::clone(&array));
                Ok(array)
            }
            Cell::Value(_) => fault(format!("{} is a value and used as an array", self.variable_name(var))),
        }
    }
}

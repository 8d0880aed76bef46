//! Evaluates expressions.

use super::statements::Flow;
use super::value::{Text, Value};
use super::{Cell, Interpreter, Run, fault};
use crate::awk::parse::ast::{Arith, Comparison, Expr, Source, Var};
use crate::awk::regex::Regex;
use std::cmp::Ordering;
use std::rc::Rc;

/// A place that can be assigned to, with its subscript or field number evaluated.
pub(super) enum Place {
    Var(Var),
    Field(f64),
    Element(Var, Text),
}

impl Interpreter<'_> {
    pub(super) fn eval(&mut self, expr: &Expr) -> Run<Value> {
        match expr {
            Expr::Number(number) => return Ok(Value::Number(*number)),
            Expr::Text(text) => return Ok(Value::Text(Rc::clone(text))),
            Expr::Var(var) => return self.var(*var),
            _ => {}
        }
        self.check_depth()?;
        self.eval_nested(expr)
    }

    fn eval_nested(&mut self, expr: &Expr) -> Run<Value> {
        match expr {
            Expr::Number(_) | Expr::Text(_) | Expr::Var(_) => self.eval(expr),
            Expr::Regex(regex) => {
                let text = self.whole_record();
                Ok(regex.is_match(&text).into())
            }
            Expr::Field(number) => {
                let number = self.number(number)?;
                self.field(number)
            }
            Expr::Element(array, subscripts) => self.element(*array, subscripts),
            Expr::List(_) => fault("a list is no value"),
            Expr::Group(inner) => self.eval(inner),
            Expr::Assign(target, arith, value) => self.assign(target, *arith, value),
            Expr::Step { target, by, prefix } => {
                let place = self.place(target)?;
                let old = self.read(&place)?.number();
                self.write(&place, Value::Number(old + by))?;
                Ok(Value::Number(if *prefix { old + by } else { old }))
            }
            Expr::Arith(arith, operands) => {
                let left = self.number(&operands.0)?;
                let right = self.number(&operands.1)?;
                calculate(*arith, left, right).map(Value::Number)
            }
            Expr::Compare(comparison, operands) => {
                let left = self.eval(&operands.0)?;
                let right = self.eval(&operands.1)?;
                let order = left.compare(&right, &self.settings.convfmt);
                Ok(holds(*comparison, order).into())
            }
            Expr::Concat(parts) => self.concat(parts),
            Expr::Match { operands, negated } => {
                let text = self.text(&operands.0)?;
                let regex = self.regex_operand(&operands.1)?;
                Ok((regex.is_match(&text) != *negated).into())
            }
            Expr::And(operands) => Ok((self.truth(&operands.0)? && self.truth(&operands.1)?).into()),
            Expr::Or(operands) => Ok((self.truth(&operands.0)? || self.truth(&operands.1)?).into()),
            Expr::Not(operand) => Ok((!self.truth(operand)?).into()),
            Expr::Negate(operand) => Ok(Value::Number(-self.number(operand)?)),
            Expr::Plus(operand) => Ok(Value::Number(self.number(operand)?)),
            Expr::Ternary(parts) => {
                let condition = self.truth(&parts.0)?;
                self.eval(if condition { &parts.1 } else { &parts.2 })
            }
            Expr::In(subscripts, array) => {
                let key = self.subscript(subscripts)?;
                let array = self.array(*array)?;
                let found = array.borrow().contains_key(&key);
                Ok(found.into())
            }
            Expr::Builtin(builtin, args) => self.builtin(*builtin, args),
            Expr::Call(function, args) => self.call(*function, args),
            Expr::Getline(source, target) => self.getline(source, target.as_deref()),
        }
    }

    pub(super) fn number(&mut self, expr: &Expr) -> Run<f64> {
        Ok(self.eval(expr)?.number())
    }

    pub(super) fn truth(&mut self, expr: &Expr) -> Run<bool> {
        Ok(self.eval(expr)?.truth())
    }

    pub(super) fn text(&mut self, expr: &Expr) -> Run<Text> {
        Ok(self.eval(expr)?.to_text(&self.settings.convfmt))
    }

    /// Returns the regular expression that an operand is, or that its value is as a string.
    pub(super) fn regex_operand(&mut self, expr: &Expr) -> Run<Rc<Regex>> {
        match expr {
            Expr::Regex(regex) => Ok(Rc::clone(regex)),
            expr => {
                let pattern = self.text(expr)?;
                self.regex(&pattern)
            }
        }
    }

    fn concat(&mut self, parts: &[Expr]) -> Run<Value> {
        let mut text = Vec::new();
        for part in parts {
            let part = self.text(part)?;
            text.extend_from_slice(&part);
        }
        Ok(Value::Text(Rc::from(text)))
    }

    /// Returns an element. One that is read exists from then on.
    fn element(&mut self, array: Var, subscripts: &[Expr]) -> Run<Value> {
        let key = self.subscript(subscripts)?;
        self.read(&Place::Element(array, key))
    }

    pub(super) fn subscript(&mut self, subscripts: &[Expr]) -> Run<Text> {
        if let [one] = subscripts {
            return self.text(one);
        }
        let mut key = Vec::new();
        for (at, subscript) in subscripts.iter().enumerate() {
            if at > 0 {
                key.extend_from_slice(&self.settings.subsep);
            }
            let part = self.text(subscript)?;
            key.extend_from_slice(&part);
        }
        Ok(Rc::from(key))
    }

    pub(super) fn place(&mut self, target: &Expr) -> Run<Place> {
        match target {
            Expr::Var(var) => Ok(Place::Var(*var)),
            Expr::Group(inner) => self.place(inner),
            Expr::Field(number) => Ok(Place::Field(self.number(number)?)),
            Expr::Element(array, subscripts) => Ok(Place::Element(*array, self.subscript(subscripts)?)),
            _ => fault("the target of an assignment is no variable"),
        }
    }

    pub(super) fn read(&mut self, place: &Place) -> Run<Value> {
        match place {
            Place::Var(var) => self.var(*var),
            Place::Field(number) => self.field(*number),
            Place::Element(var, key) => {
                let array = self.array(*var)?;
                let mut array = array.borrow_mut();
                if let Some(value) = array.get(key) {
                    return Ok(value.clone());
                }
                array.insert(Rc::clone(key), Value::Unset);
                Ok(Value::Unset)
            }
        }
    }

    pub(super) fn write(&mut self, place: &Place, value: Value) -> Run<()> {
        match place {
            Place::Var(var) => self.set_var(*var, value),
            Place::Field(number) => self.set_field(*number, value),
            Place::Element(var, key) => {
                let array = self.array(*var)?;
                array.borrow_mut().insert(Rc::clone(key), value);
                Ok(())
            }
        }
    }

    fn assign(&mut self, target: &Expr, arith: Option<Arith>, value: &Expr) -> Run<Value> {
        let place = self.place(target)?;
        let mut value = self.eval(value)?;
        if let Some(arith) = arith {
            let old = self.read(&place)?.number();
            value = Value::Number(calculate(arith, old, value.number())?);
        }
        self.write(&place, value.clone())?;
        Ok(value)
    }

    /// Calls a function. Arrays are passed by reference, values are copied.
    fn call(&mut self, number: usize, args: &[Expr]) -> Run<Value> {
        let program = self.program;
        let function = &program.functions[number];
        let mut cells = Vec::with_capacity(function.params);
        for (at, arg) in args.iter().enumerate() {
            let wants_array = function.arrays.get(at) == Some(&true);
            cells.push(match arg {
                Expr::Var(var) if wants_array || matches!(self.cell(*var), Cell::Array(_)) => {
                    Cell::Array(self.array(*var)?)
                }
                _ if wants_array => {
                    return fault(format!("argument {} of {} must be an array", at + 1, function.name));
                }
                arg => Cell::Value(self.eval(arg)?),
            });
        }
        cells.resize(function.params, Cell::Unset);
        let (base, line, caller) = (self.base, self.line, self.function);
        let top = self.stack.len();
        self.stack.extend(cells);
        (self.base, self.function) = (top, Some(number));
        self.calls += 1;
        let result = self.block(&function.body);
        self.calls -= 1;
        self.stack.truncate(top);
        (self.base, self.function) = (base, caller);
        let flow = result?; // a fault keeps the line where it was
        self.line = line;
        match flow {
            Flow::Return => Ok(std::mem::replace(&mut self.returned, Value::Unset)),
            _ => Ok(Value::Unset),
        }
    }

    fn getline(&mut self, source: &Source, target: Option<&Expr>) -> Run<Value> {
        let (command, name) = match source {
            Source::Main => return self.getline_main(target),
            Source::File(name) => (false, self.text(name)?),
            Source::Command(name) => (true, self.text(name)?),
        };
        let place = target.map(|target| self.place(target)).transpose()?;
        let record = match self.read_from(command, &name)? {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(Value::Number(0.0)),
            Err(_) => return Ok(Value::Number(-1.0)),
        };
        if command {
            self.count_record(false);
        }
        self.store_record(place, record)?;
        Ok(Value::Number(1.0))
    }

    fn getline_main(&mut self, target: Option<&Expr>) -> Run<Value> {
        let place = target.map(|target| self.place(target)).transpose()?;
        let Some(record) = self.main_record()? else { return Ok(Value::Number(0.0)) };
        self.store_record(place, record)?;
        Ok(Value::Number(1.0))
    }

    fn store_record(&mut self, place: Option<Place>, record: Vec<u8>) -> Run<()> {
        match place {
            Some(place) => self.write(&place, Value::Input(Rc::from(record))),
            None => {
                self.record.read(Rc::from(record));
                Ok(())
            }
        }
    }
}

fn calculate(arith: Arith, left: f64, right: f64) -> Run<f64> {
    Ok(match arith {
        Arith::Add => left + right,
        Arith::Subtract => left - right,
        Arith::Multiply => left * right,
        Arith::Divide | Arith::Modulo if right == 0.0 => return fault("division by zero"),
        Arith::Divide => left / right,
        Arith::Modulo => left % right,
        Arith::Power => left.powf(right),
    })
}

/// Returns whether a comparison is so; NaN is unequal to everything.
fn holds(comparison: Comparison, order: Option<Ordering>) -> bool {
    match (comparison, order) {
        (Comparison::NotEqual, order) => order != Some(Ordering::Equal),
        (_, None) => false,
        (Comparison::Less, Some(order)) => order.is_lt(),
        (Comparison::LessOrEqual, Some(order)) => order.is_le(),
        (Comparison::Equal, Some(order)) => order.is_eq(),
        (Comparison::Greater, Some(order)) => order.is_gt(),
        (Comparison::GreaterOrEqual, Some(order)) => order.is_ge(),
    }
}

//! The built-in functions.

use super::output::{shell, status_number};
use super::record::{Separator, split};
use super::value::{Text, Value};
use super::{Array, Cell, Interpreter, Run, fault, variables};
use crate::awk::parse::ast::{Builtin, Expr};
use crate::awk::regex::Regex;
use std::rc::Rc;

impl Interpreter<'_> {
    pub(super) fn call_builtin(&mut self, builtin: Builtin, args: &[Expr]) -> Run<Value> {
        let number = match builtin {
            Builtin::Atan2 => self.eval_number(&args[0])?.atan2(self.eval_number(&args[1])?),
            Builtin::Cos => self.eval_number(&args[0])?.cos(),
            Builtin::Exp => self.eval_number(&args[0])?.exp(),
            Builtin::Int => self.eval_number(&args[0])?.trunc(),
            Builtin::Log => self.eval_number(&args[0])?.ln(),
            Builtin::Sin => self.eval_number(&args[0])?.sin(),
            Builtin::Sqrt => self.eval_number(&args[0])?.sqrt(),
            Builtin::Rand => self.rand(),
            Builtin::Srand => return self.srand(args.first()),
            Builtin::Systime => jiff::Timestamp::now().as_second() as f64,
            Builtin::Length => self.length(args.first())?,
            Builtin::Index => {
                let (text, part) = (self.eval_text(&args[0])?, self.eval_text(&args[1])?);
                match part.is_empty() {
                    true => 1.0, // as in mawk and gawk; POSIX says nothing of it
                    false => {
                        text.windows(part.len()).position(|w| *w == *part).map_or(0.0, |at| at as f64 + 1.0)
                    }
                }
            }
            Builtin::Match => self.match_in(&args[0], &args[1])?,
            Builtin::Split => self.split_into(args)?,
            Builtin::Sub | Builtin::Gsub => self.substitute(args, builtin == Builtin::Gsub)?,
            Builtin::Substr => return self.substr(args),
            Builtin::Sprintf => return Ok(Value::Text(Rc::from(self.format_args(args)?))),
            Builtin::Tolower => {
                return Ok(Value::Text(Rc::from(self.eval_text(&args[0])?.to_ascii_lowercase())));
            }
            Builtin::Toupper => {
                return Ok(Value::Text(Rc::from(self.eval_text(&args[0])?.to_ascii_uppercase())));
            }
            Builtin::System => {
                let command = self.eval_text(&args[0])?;
                self.flush()?;
                match shell(&command).status() {
                    Ok(status) => status_number(status),
                    Err(e) => return fault(format!("cannot run sh: {}", crate::reason(&e))),
                }
            }
            Builtin::Close => {
                let name = self.eval_text(&args[0])?;
                self.close(&name)?
            }
            Builtin::Fflush => match args.first() {
                None => {
                    self.flush()?;
                    0.0
                }
                Some(name) => {
                    let name = self.eval_text(name)?;
                    match (&name[..], self.outputs.flush_named(&name)) {
                        (b"", _) => {
                            self.flush()?;
                            0.0
                        }
                        (_, Some(Ok(()))) => 0.0,
                        _ => -1.0,
                    }
                }
            },
        };
        Ok(Value::Number(number))
    }

    fn flush(&mut self) -> Run<()> {
        self.outputs.flush_all().or_else(|e| fault(format!("write error: {}", crate::reason(&e))))
    }

    /// Closes what has that name, for reading and for writing. Returns -1 if nothing has.
    fn close(&mut self, name: &Text) -> Run<f64> {
        let mut status = -1.0;
        if let Some(closed) = self.outputs.close(name) {
            status = closed.unwrap_or(-1.0);
        }
        for command in [false, true] {
            let Some(mut input) = self.inputs.shift_remove(&(command, Rc::clone(name))) else { continue };
            let child = input.child.take();
            drop(input); // a command that still writes ends by SIGPIPE
            status = match child.map(|mut child| child.wait()) {
                None => 0.0,
                Some(Ok(code)) => status_number(code),
                Some(Err(_)) => -1.0,
            };
        }
        Ok(status)
    }

    /// Counts the bytes of a text (by default the record) or the elements of an array.
    fn length(&mut self, arg: Option<&Expr>) -> Run<f64> {
        let length = match arg {
            None => self.whole_record().len(),
            Some(Expr::Var(var)) if matches!(self.variable_cell(*var), Cell::Array(_)) => {
                self.get_or_create_array(*var)?.borrow().len()
            }
            Some(arg) => self.eval_text(arg)?.len(),
        };
        Ok(length as f64)
    }

    /// Draws a number from 0 up to but not 1, by xorshift64*.
    fn rand(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let bits = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        bits as f64 / (1u64 << 53) as f64
    }

    /// Returns the seed of before. Without an argument, the seed is the time in seconds.
    fn srand(&mut self, seed: Option<&Expr>) -> Run<Value> {
        let seed = match seed {
            Some(seed) => self.eval_number(seed)?,
            None => jiff::Timestamp::now().as_second() as f64,
        };
        // splitmix64, so that near seeds give different numbers. The state must not be 0.
        let mut state = seed.to_bits().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.random = (state ^ (state >> 31)) | 1;
        Ok(Value::Number(std::mem::replace(&mut self.seed, seed)))
    }

    fn match_in(&mut self, text: &Expr, regex: &Expr) -> Run<f64> {
        let text = self.eval_text(text)?;
        let regex = self.regex_operand(regex)?;
        let (start, length) = match regex.find(&text, 0) {
            Some((start, end)) => (start as f64 + 1.0, (end - start) as f64),
            None => (0.0, -1.0),
        };
        self.set_number(variables::RSTART, start);
        self.set_number(variables::RLENGTH, length);
        Ok(start)
    }

    fn split_into(&mut self, args: &[Expr]) -> Run<f64> {
        let text = self.eval_text(&args[0])?;
        let separator = match args.get(2) {
            None => self.settings.separator.clone(),
            Some(Expr::Regex(regex)) => Separator::Regex(Rc::clone(regex)),
            Some(separator) => {
                let separator = self.eval_text(separator)?;
                self.parse_separator(&separator)?
            }
        };
        let Expr::Var(var) = &args[1] else { return fault("the second argument of split must be an array") };
        let array = self.get_or_create_array(*var)?;
        let lines = args.len() < 3 && self.is_paragraph_mode();
        let mut parts = Array::new();
        for (at, (start, end)) in split(&text, &separator, lines).into_iter().enumerate() {
            parts.insert(Rc::from((at + 1).to_string().into_bytes()), Value::input(&text[start..end]));
        }
        let count = parts.len();
        *array.borrow_mut() = parts;
        Ok(count as f64)
    }

    /// Returns so many bytes from a position, as far as they exist. As in mawk, gawk, bwk's awk and
    /// busybox, fractions are cut off and a start below 1 is 1: `substr("hello", 0, 2)` is "he".
    /// POSIX says nothing of such a start.
    fn substr(&mut self, args: &[Expr]) -> Run<Value> {
        let text = self.eval_text(&args[0])?;
        let start = self.eval_number(&args[1])?.trunc().max(1.0); // 1 also if it is NaN
        let mut end = text.len() as f64 + 1.0;
        if let Some(length) = args.get(2) {
            let behind = start + self.eval_number(length)?.trunc();
            if behind.is_nan() {
                return Ok(Value::text(b""));
            }
            end = end.min(behind);
        }
        if start < end {
            return Ok(Value::text(&text[start as usize - 1..end as usize - 1]));
        }
        Ok(Value::text(b""))
    }

    /// Runs `sub` or, if `all`, `gsub`. Returns the number of replacements.
    fn substitute(&mut self, args: &[Expr], all: bool) -> Run<f64> {
        let regex = self.regex_operand(&args[0])?;
        let replacement = self.eval_text(&args[1])?;
        let place = args.get(2).map(|target| self.eval_place(target)).transpose()?;
        let text = match &place {
            None => self.whole_record(),
            Some(place) => self.read_place(place)?.to_text(&self.settings.convfmt),
        };
        let (changed, count) = replace(&regex, &text, &replacement, all);
        if count > 0 {
            let value = Value::Text(Rc::from(changed));
            match &place {
                None => self.set_field(0.0, value)?,
                Some(place) => self.write_place(place, value)?,
            }
        }
        Ok(count as f64)
    }
}

/// Replaces the first match, or all that do not overlap. An empty match directly behind another
/// match does not count: `x*` in `abxc` matches before `a`, before `b`, at `x` and at the end, but
/// not again between `x` and `c`, so with `-` the result is `-a-b-c-`.
fn replace(regex: &Regex, text: &[u8], replacement: &[u8], all: bool) -> (Vec<u8>, usize) {
    let mut out = Vec::with_capacity(text.len());
    let (mut count, mut copied, mut from) = (0, 0, 0);
    let mut last_end = None;
    while let Some((start, end)) = regex.find(text, from) {
        out.extend_from_slice(&text[copied..start]);
        if start < end || last_end != Some(start) {
            expand(&mut out, replacement, &text[start..end]);
            count += 1;
            last_end = Some(end);
        }
        (copied, from) = (end, end);
        if start == end {
            out.extend(text.get(start));
            (copied, from) = ((start + 1).min(text.len()), start + 1);
        }
        if !all || from > text.len() {
            break;
        }
    }
    out.extend_from_slice(&text[copied..]);
    (out, count)
}

/// Appends a replacement: in it `&` is the match, `\&` an ampersand, `\\` a backslash.
fn expand(out: &mut Vec<u8>, replacement: &[u8], found: &[u8]) {
    let mut bytes = replacement.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'\\', Some(&next @ (b'&' | b'\\'))) => {
                out.push(next);
                bytes.next();
            }
            (b'&', _) => out.extend_from_slice(found),
            _ => out.push(byte),
        }
    }
}

//! # awk
//!
//! ## In Kubernetes
//! Scripts in containers and init containers cut columns out of logs and of `ps` with awk, and most
//! small images have busybox's.
//! ## How this one works
//! The language is that of POSIX (XCU, "awk"). Strings are bytes: `length` counts bytes, as in mawk
//! and in busybox without a locale, and what is no UTF-8 is written as it was read. Where POSIX is
//! silent, this awk does what mawk, gawk, bwk's awk and busybox have in common; the tests run the
//! same programs with mawk where it is installed.
//!
//! A program goes through three steps:
//! 1. `parse` makes a syntax tree. `parse::lexer` splits the text into tokens, `parse::statements`
//!    and `parse::expressions` (precedence) read them, `parse` itself reads rules and functions and
//!    resolves names; `parse::ast` is the tree.
//! 2. `regex` compiles each regular expression when the program is read, and a string that is used
//!    as one when it is first used. `regex` reads the expression, `regex::automaton` matches it in
//!    one pass over the text: an automaton after Thompson (Regular Expression Search Algorithm,
//!    1968), whose sets of states become states of a deterministic one when they are first reached.
//! 3. `run` walks the tree: `BEGIN`, the rules over each record, `END`. `run::statements` has loops
//!    and `print`, `run::expressions` operators and calls, `run::builtins` the built-in functions,
//!    `run::value` values and when a string counts as a number, `run::variables` the variables and
//!    what setting a special one does, `run::record` `$0` and its fields, `run::input` `getline`
//!    and the files of the command line, `run::output` redirections, pipes and `close`,
//!    `run::format` `printf`.
//!
//! `stack` bounds how deep all of that may call itself.
//!
//! Two rules of POSIX that other awks do not keep are kept here: `command | getline` raises NR, and
//! with an empty RS a newline separates fields whatever FS is.
//! ## Left out
//! * The functions and syntax of gawk (`gensub`, `strftime`, `switch`, BEGINFILE, `|&`, `@include`)
//!   are refused when the program is read. FPAT, FIELDWIDTHS and IGNORECASE are ordinary variables,
//!   and setting one warns.
//! * Locales: a character is a byte, and strings compare by bytes.
//! * In a regular expression: collating symbols and equivalence classes of more than one byte,
//!   counts above 1000, `\<`, `\>`, `\y` and `\B`.
//! * Linear time in every case: where many positions could begin a match that only the end of the
//!   text decides, as for `gsub(/a(.*c)?/, "x")`, each of them is tried to the end of the text.
//! ## Read next
//! `parse`, then `run`. `regex::automaton` stands for itself.

#[cfg(test)]
mod fuzz;
mod parse;
mod regex;
mod run;
mod stack;
#[cfg(test)]
mod tests;

use run::{Interpreter, Run, Stop};
use stack::Stack;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

const USAGE: &str = "Usage: awk [OPTIONS] [PROGRAM] [FILE]...\n";

const HELP: &str = "
  -F SEP       Separate fields by SEP (sets FS)
  -v VAR=VAL   Set variable
  -f FILE      Read program from FILE (may stand several times)
FILE may be VAR=VAL, which sets a variable when it is reached, or - for standard input.
This is Ropewalk's own awk: POSIX awk without the functions of gawk.
";

/// What the command line asks for.
#[derive(Debug, Default)]
struct Options {
    separator: Option<Vec<u8>>,
    assignments: Vec<Vec<u8>>,
    files: Vec<Vec<u8>>,
    operands: Vec<Vec<u8>>,
    help: bool,
}

pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let args = args.into_iter().skip(1).map(OsString::into_vec).collect();
    let thread = std::thread::Builder::new().stack_size(stack::SIZE).spawn(move || run_with(args));
    match thread.map(|thread| thread.join()) {
        Ok(Ok(code)) => code,
        Ok(Err(_)) => 2, // it panicked and said so
        Err(e) => {
            super::write_stderr(&format!("awk: cannot start: {}\n", super::reason(&e)));
            2
        }
    }
}

/// Runs a whole command in the outermost frame of its thread.
fn run_with(args: Vec<Vec<u8>>) -> i32 {
    let stack = Stack::of_thread(stack::SIZE);
    let mut options = match parse_options(args) {
        Ok(options) => options,
        Err(text) => {
            super::write_stderr(&format!("awk: {text}\n{USAGE}"));
            return 2;
        }
    };
    if options.help {
        super::write_stdout(&format!("{USAGE}{HELP}"));
        return 0;
    }
    if options.files.is_empty() && options.operands.is_empty() {
        super::write_stderr(USAGE);
        return 2;
    }
    let sources = match read_sources(&mut options) {
        Ok(sources) => sources,
        Err(text) => {
            super::write_stderr(&format!("awk: {text}\n"));
            return 2;
        }
    };
    let text: Vec<u8> = sources.iter().flat_map(|source| source.text.iter().copied()).collect();
    let program = match parse::parse(&text, stack) {
        Ok(program) => program,
        Err(error) => {
            super::write_stderr(&format!("awk: {}: {}\n", format_position(&sources, error.line), error.text));
            return 2;
        }
    };
    let mut interpreter = Interpreter::new(&program, stack);
    interpreter.set_arguments(&options.operands);
    let result = prepare(&mut interpreter, &options).and_then(|()| interpreter.run());
    let line = interpreter.line;
    let finished = interpreter.finish();
    let fault = match (result, finished) {
        (Err(text), _) => text,
        (Ok(()), Err(Stop::Fault(text))) => text,
        _ => return interpreter.exit_code,
    };
    let place = if line > 0 { format!("{}: ", format_position(&sources, line)) } else { String::new() };
    super::write_stderr(&format!("awk: {place}{fault}\n"));
    2
}

/// Carries out `-F` and `-v`.
fn prepare(interpreter: &mut Interpreter<'_>, options: &Options) -> Result<(), String> {
    let mut all = || -> Run<()> {
        if let Some(separator) = &options.separator {
            interpreter.assign_operand("FS", if separator == b"t" { b"\\t" } else { separator })?;
        }
        for operand in &options.assignments {
            let (name, value) = parse_assignment(operand).ok_or_else(|| {
                Stop::Fault(format!("-v {}: not of the form name=value", lossy_text(operand)))
            })?;
            interpreter.assign_operand(name, value)?;
        }
        Ok(())
    };
    all().map_err(|stop| match stop {
        Stop::Fault(text) => text,
        _ => String::new(),
    })
}

fn lossy_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns name and value of an operand `name=value`; `None` if it is not one.
fn parse_assignment(operand: &[u8]) -> Option<(&str, &[u8])> {
    let end = operand.iter().position(|&b| b == b'=')?;
    let name = std::str::from_utf8(&operand[..end]).ok()?;
    let fits = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let begins = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    (fits && begins).then_some((name, &operand[end + 1..]))
}

fn parse_options(args: Vec<Vec<u8>>) -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match &arg[..] {
            b"--" => {
                options.operands.extend(args.by_ref());
            }
            b"--help" => options.help = true,
            [b'-', letter @ (b'F' | b'f' | b'v'), rest @ ..] => {
                let value = match rest {
                    [] => args
                        .next()
                        .ok_or_else(|| format!("option -{} needs an argument", char::from(*letter)))?,
                    rest => rest.to_vec(),
                };
                match letter {
                    b'F' => options.separator = Some(value),
                    b'f' => options.files.push(value),
                    _ => options.assignments.push(value),
                }
            }
            [b'-', _, ..] => return Err(format!("unknown option {}", lossy_text(&arg))),
            _ => {
                // Options end at the first operand.
                options.operands.push(arg);
                options.operands.extend(args.by_ref());
            }
        }
    }
    Ok(options)
}

/// A part of the program, and its name in messages.
#[derive(Debug)]
struct Source {
    name: String,
    text: Vec<u8>,
}

/// Returns the files of `-f`, or the first operand.
fn read_sources(options: &mut Options) -> Result<Vec<Source>, String> {
    if options.files.is_empty() {
        return Ok(vec![Source { name: "cmd. line".into(), text: options.operands.remove(0) }]);
    }
    let mut sources = Vec::new();
    for name in &options.files {
        let mut text = Vec::new();
        let read = match &name[..] {
            b"-" => std::io::stdin().read_to_end(&mut text).map(drop),
            name => std::fs::read(std::ffi::OsStr::from_bytes(name)).map(|read| text = read),
        };
        read.map_err(|e| format!("{}: {}", lossy_text(name), super::reason(&e)))?;
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        sources.push(Source { name: lossy_text(name), text });
    }
    Ok(sources)
}

/// Returns the source and the line in it, from the line in all sources together.
fn format_position(sources: &[Source], line: usize) -> String {
    let mut line = line;
    for (at, source) in sources.iter().enumerate() {
        let lines = source.text.iter().filter(|&&b| b == b'\n').count();
        if line <= lines || at + 1 == sources.len() {
            return format!("{}:{line}", source.name);
        }
        line -= lines;
    }
    String::new()
}

//! Between text and brush-parser's trees.

use super::{Flow, Run, Shell};
use brush_parser::ast::{ArithmeticExpr, Program};
use brush_parser::word::WordPieceWithSource;
use brush_parser::{ParseError, Parser, ParserOptions};
use std::rc::Rc;

/// Words and sums that are kept parsed; when there are more, all are forgotten.
const CACHE_MAX: usize = 4096;

pub fn options() -> ParserOptions {
    ParserOptions { enable_extended_globbing: false, posix_mode: true, ..ParserOptions::default() }
}

/// What is wrong with a text.
#[derive(Debug)]
pub struct Fault {
    pub what: String,
    /// More text could make it right.
    pub incomplete: bool,
}

pub fn program(text: &str) -> Result<Program, Fault> {
    let parsed = Parser::new(std::io::Cursor::new(text.as_bytes()), &options()).parse_program();
    parsed.map_err(|e| {
        let incomplete = match &e {
            ParseError::ParsingAtEndOfInput => true,
            ParseError::Tokenizing { inner, .. } => inner.is_incomplete(),
            ParseError::ParsingNear(_) => false,
        };
        Fault { what: format!("syntax error: {e}"), incomplete }
    })
}

impl Shell {
    /// Runs a text; `last` if nothing comes after it, so that its last command may replace this process.
    pub fn run_text(&mut self, text: &str, last: bool) -> Run {
        match program(text) {
            Ok(program) => self.program(&program, last),
            Err(fault) => {
                self.complain(fault.what);
                Err(Flow::Abort(2))
            }
        }
    }

    pub fn parse_word(&mut self, word: &str) -> Result<Rc<Vec<WordPieceWithSource>>, Flow> {
        if let Some(known) = self.parsed_words.get(word) {
            return Ok(known.clone());
        }
        match brush_parser::word::parse(word, &options()) {
            Ok(pieces) => {
                let pieces = Rc::new(pieces);
                if self.parsed_words.len() >= CACHE_MAX {
                    self.parsed_words.clear();
                }
                self.parsed_words.insert(word.to_string(), pieces.clone());
                Ok(pieces)
            }
            Err(e) => {
                self.complain(format_args!("bad substitution: {e}"));
                Err(Flow::Abort(2))
            }
        }
    }

    pub fn parse_sum(&mut self, text: &str) -> Result<Rc<ArithmeticExpr>, Flow> {
        if let Some(known) = self.parsed_sums.get(text) {
            return Ok(known.clone());
        }
        match brush_parser::arithmetic::parse(text) {
            Ok(sum) => {
                let sum = Rc::new(sum);
                if self.parsed_sums.len() >= CACHE_MAX {
                    self.parsed_sums.clear();
                }
                self.parsed_sums.insert(text.to_string(), sum.clone());
                Ok(sum)
            }
            Err(_) => {
                self.complain(format_args!("arithmetic syntax error: \"{text}\""));
                Err(Flow::Abort(2))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interactive_shell_knows_when_to_ask_for_more() {
        for (text, incomplete) in
            [("if true; then\n", true), ("echo 'a\n", true), ("cat <<E\na\n", true), ("echo a; )\n", false)]
        {
            assert_eq!(program(text).err().map(|f| f.incomplete), Some(incomplete), "{text}");
        }
        assert!(program("echo a | cat\n").is_ok());
    }
}

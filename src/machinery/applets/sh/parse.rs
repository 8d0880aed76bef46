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

/// A here-document under way. Only the line that ends it is worth parsing everything again: else a
/// long one would take time with the square of its length.
struct HereDocument {
    end: String,
    /// `<<-`: tabs before the end are no part of it.
    tabs: bool,
}

impl HereDocument {
    /// The one that an incomplete text waits for the end of. `None` if it waits for something else,
    /// too.
    fn open_in(text: &str) -> Option<HereDocument> {
        let (_, behind) = text.lines().filter_map(|line| line.rsplit_once("<<")).next_back()?;
        let (tabs, behind) = match behind.strip_prefix('-') {
            Some(behind) => (true, behind),
            None => (false, behind),
        };
        let word = behind.trim_start().split([' ', '\t', ';', '|', '&', '>', '<', ')']).next()?;
        let end: String = word.chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect();
        let ended = program(&format!("{text}{end}\n")).is_ok();
        (ended && !end.is_empty()).then_some(HereDocument { end, tabs })
    }

    fn ends_with(&self, line: &str) -> bool {
        let line = line.trim_end_matches('\n');
        self.end == if self.tabs { line.trim_start_matches('\t') } else { line }
    }
}

/// Lines that are not yet a command.
#[derive(Default)]
pub struct Assembly {
    text: String,
    document: Option<HereDocument>,
}

impl Assembly {
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Adds a line. Returns what the lines mean, and forgets them, unless more lines could change
    /// it.
    pub fn push(&mut self, line: &str) -> Option<Result<Program, Fault>> {
        self.text.push_str(line);
        if self.document.as_ref().is_some_and(|document| !document.ends_with(line)) {
            return None;
        }
        match program(&self.text) {
            Err(fault) if fault.incomplete => {
                self.document = HereDocument::open_in(&self.text);
                None
            }
            parsed => {
                *self = Assembly::default();
                Some(parsed)
            }
        }
    }

    /// What the lines mean if no more come; `None` if there are none.
    pub fn end(&mut self) -> Option<Result<Program, Fault>> {
        let text = std::mem::take(self).text;
        (!text.is_empty()).then(|| program(&text))
    }
}

impl Shell {
    /// Runs a text; `last` if nothing comes after it, so that its last command may replace this
    /// process. What stands in lines before a syntax error runs.
    pub fn run_text(&mut self, text: &str, last: bool) -> Run {
        if let Ok(program) = program(text) {
            return self.program(&program, last);
        }
        let mut command = Assembly::default();
        for line in text.split_inclusive('\n') {
            match command.push(line) {
                None => {}
                Some(Ok(program)) => drop(self.program(&program, false)?),
                Some(Err(fault)) => return Err(self.bad_syntax(&fault)),
            }
        }
        match command.end() {
            None => Ok(self.status),
            Some(Ok(program)) => self.program(&program, last),
            Some(Err(fault)) => Err(self.bad_syntax(&fault)),
        }
    }

    fn bad_syntax(&self, fault: &Fault) -> Flow {
        self.complain(&fault.what);
        Flow::Abort(2)
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

    #[test]
    fn only_a_here_document_is_read_to_its_end_without_parsing() {
        let open = |text: &str| HereDocument::open_in(text).map(|document| (document.end, document.tabs));
        assert_eq!(open("cat <<E\n"), Some(("E".into(), false)));
        assert_eq!(open("cat <<-'END' >f\na\n"), Some(("END".into(), true)));
        assert_eq!(open("cat <<A; cat <<B\na\nA\n"), Some(("B".into(), false)));
        for other in
            ["if true; then\n", "echo 'a <<E\n", "echo $((1 <<\n", "cat <<E |\n", "if true; then cat <<E\n"]
        {
            assert_eq!(open(other), None, "{other}");
        }
        let document = HereDocument { end: "E".into(), tabs: true };
        assert!(document.ends_with("\t\tE\n") && document.ends_with("E") && !document.ends_with("E \n"));
    }
}

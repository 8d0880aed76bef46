//! Between text and brush-parser's trees.

use super::assembly::Assembly;
use super::{Flow, Run, Shell, apostrophes, case_patterns, depth, documents, guard, subshells};
use brush_parser::ast::{ArithmeticExpr, Program};
use brush_parser::word::WordPieceWithSource;
use brush_parser::{ParseError, Parser, ParserOptions};
use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

/// Double quotes that may be open inside each other. The parser's time doubles with each.
const QUOTES_MAX: usize = 14;
/// Words and sums that are kept parsed; when there are more, all are forgotten.
const CACHE_MAX: usize = 4096;
/// Bytes of a word or a sum that is kept parsed. Longer ones are data, which seldom comes again.
const CACHED_TEXT_MAX: usize = 4096;

/// Keeps what a text means for the next time.
fn cache_parsed<T>(cache: &mut HashMap<String, T>, text: &str, parsed: T) {
    if text.len() > CACHED_TEXT_MAX {
        return;
    }
    if cache.len() >= CACHE_MAX {
        cache.clear();
    }
    cache.insert(text.to_string(), parsed);
}

pub(super) fn options() -> ParserOptions {
    ParserOptions { enable_extended_globbing: false, posix_mode: true, ..ParserOptions::default() }
}

/// What is wrong with a text.
#[derive(Debug)]
pub(super) struct Fault {
    pub what: String,
    /// More text could make it right.
    pub incomplete: bool,
}

/// Parses a script, whose depth `stack` must take.
///
/// # Errors
/// What is wrong with the text.
pub(super) fn parse_program(text: &str, stack: depth::Stack) -> Result<Program, Fault> {
    let plain = apostrophes::insert_stand_ins(text);
    // As it is, the text may be complete too early, or mean something else: the substitution in
    // `"$(case b in a) x;; esac)"` would end behind `a`, and the rest would be text of the quote.
    if let Some(opened) = case_patterns::open_patterns(plain.as_deref().unwrap_or(text)) {
        match with_stand_ins(&opened, apostrophes::insert_stand_ins(&opened), stack) {
            Err(fault) if !fault.incomplete => {} // perhaps of the brackets
            parsed => return parsed,
        }
    }
    with_stand_ins(text, plain, stack)
}

/// Parses `plain`, which is the text with its stand-ins, or else the text itself.
fn with_stand_ins(text: &str, plain: Option<String>, stack: depth::Stack) -> Result<Program, Fault> {
    let plain = plain.and_then(|text| as_written(&text, stack).ok());
    plain.map_or_else(|| as_written(text, stack), Ok)
}

fn as_written(text: &str, stack: depth::Stack) -> Result<Program, Fault> {
    if !stack.can_hold_levels(depth::of_commands(text)) {
        return Err(Fault {
            what: "syntax error: commands are too deep inside each other".into(),
            incomplete: false,
        });
    }
    let program = parse_uncached(text, stack)?;
    let Some(mut text) = subshells::disambiguated(text, &program) else { return Ok(program) };
    // Of those inside each other the outer one is mended first.
    loop {
        let program = parse_uncached(&text, stack)?;
        match subshells::disambiguated(&text, &program) {
            Some(more) => text = more,
            None => return Ok(program),
        }
    }
}

fn parse_uncached(text: &str, stack: depth::Stack) -> Result<Program, Fault> {
    let ended = guard::end_first_document(text);
    let parse = || Parser::new(guard::Watched::new(&ended, stack), &options()).parse_program();
    let Some(parsed) = guard::catch_panic(parse) else {
        let what = match may_name_a_large_descriptor(text) {
            true => "syntax error: bad descriptor number",
            false => "syntax error: this shell cannot read it",
        };
        return Err(Fault { what: what.into(), incomplete: false });
    };
    parsed.map_err(|e| {
        let incomplete = match &e {
            ParseError::ParsingAtEndOfInput => true,
            ParseError::Tokenizing { inner, .. } => inner.is_incomplete(),
            ParseError::ParsingNear(_) => false,
        };
        Fault { what: format!("syntax error: {e}"), incomplete }
    })
}

/// Returns whether a text may name a descriptor that is too large. The parser takes all digits
/// before `<` or `>` for a descriptor and panics if it is no i32. In quotes and here-documents they
/// are text.
fn may_name_a_large_descriptor(text: &str) -> bool {
    text.match_indices(['<', '>']).any(|(at, _)| {
        let before = text[..at].trim_end_matches(|c: char| c.is_ascii_digit());
        at - before.len() > 9
    })
}

/// Quotes each tilde whose number is too large. The parser panics if the number after `~`, `~+` or
/// `~-` is no usize. Such a text is no tilde expansion, so its tilde is quoted.
fn without_large_tildes(word: &str) -> Cow<'_, str> {
    let large = |at: usize| {
        let behind = word[at + 1..].trim_start_matches(['+', '-']);
        behind.chars().take_while(char::is_ascii_digit).count() > 18
    };
    if !word.match_indices('~').any(|(at, _)| large(at)) {
        return Cow::Borrowed(word);
    }
    let quoted = |(at, c)| if c == '~' && large(at) { "\\~".to_string() } else { String::from(c) };
    Cow::Owned(word.char_indices().map(quoted).collect())
}

/// Parses a word. Assignments expand `~` after `:` too.
///
/// # Errors
/// What is wrong with the word.
pub(super) fn parse_word(
    word: &str,
    options: &ParserOptions,
    stack: depth::Stack,
) -> Result<Vec<WordPieceWithSource>, String> {
    let quotes = word.bytes().filter(|b| *b == b'"').count();
    let deep = quotes / 2 > QUOTES_MAX && apostrophes::depth_of_quotes(word) > QUOTES_MAX;
    if deep || !is_parsable(word, stack) {
        return Err(TOO_DEEP.into());
    }
    let hidden = documents::hide_documents(word);
    let word = hidden.as_deref().unwrap_or(word);
    let word = without_large_tildes(word);
    let parse = || brush_parser::word::parse(&word, options);
    guard::catch_panic(parse).ok_or(UNREADABLE)?.map_err(|e| e.to_string())
}

const TOO_DEEP: &str = "it is too deep";
const UNREADABLE: &str = "this shell cannot read it";

/// Returns whether the parser reads a word or a here-document in the stack that is left, and in
/// time.
fn is_parsable(text: &str, stack: depth::Stack) -> bool {
    stack.can_hold_levels(depth::of_commands(text)) && guard::count_unclosed(text) <= guard::UNCLOSED_MAX
}

/// Parses the text of a here-document, or a prompt.
///
/// # Errors
/// What is wrong with the text.
pub(super) fn here_document(text: &str, stack: depth::Stack) -> Result<Vec<WordPieceWithSource>, String> {
    if !is_parsable(text, stack) {
        return Err(TOO_DEEP.into());
    }
    let plain = apostrophes::replaced_in_document(text);
    let text = plain.as_deref().unwrap_or(text);
    let parse = || brush_parser::word::parse_heredoc(text, &options());
    guard::catch_panic(parse).ok_or(UNREADABLE)?.map_err(|e| e.to_string())
}

/// Returns whether there is anything to run. A text of comments and blank lines has no commands.
pub(super) fn has_commands(program: &Program) -> bool {
    !program.complete_commands.is_empty()
}

impl Shell {
    /// Runs a text; `last` if nothing comes after it, so that its last command may replace this
    /// process. What stands in lines before a syntax error runs. A text without commands has status
    /// 0, as POSIX says of `eval` and `.`.
    pub(super) fn run_text(&mut self, text: &str, last: bool) -> Run {
        if !case_patterns::may_miss(text)
            && let Ok(program) = parse_program(text, self.stack)
        {
            return if has_commands(&program) { self.run_script(&program, last) } else { self.set_status(0) };
        }
        let (mut command, mut has_run) = (Assembly::default(), false);
        for line in text.split_inclusive('\n') {
            match command.push_line(line, self.stack) {
                None => {}
                Some(Ok(program)) => {
                    has_run |= has_commands(&program);
                    self.run_script(&program, false)?;
                }
                Some(Err(fault)) => return Err(self.bad_syntax(&fault)),
            }
        }
        match command.finish(self.stack) {
            Some(Ok(program)) if has_commands(&program) => self.run_script(&program, last),
            Some(Err(fault)) => Err(self.bad_syntax(&fault)),
            Some(Ok(_)) | None if has_run => Ok(self.status),
            Some(Ok(_)) | None => self.set_status(0),
        }
    }

    fn bad_syntax(&self, fault: &Fault) -> Flow {
        self.print_error(&fault.what);
        Flow::Abort(2)
    }

    pub(super) fn parse_word(&mut self, word: &str) -> Result<Rc<Vec<WordPieceWithSource>>, Flow> {
        if let Some(known) = self.parsed_words.get(word) {
            return Ok(known.clone());
        }
        match self::parse_word(word, &options(), self.stack) {
            Ok(pieces) => {
                let pieces = Rc::new(pieces);
                cache_parsed(&mut self.parsed_words, word, pieces.clone());
                Ok(pieces)
            }
            Err(e) => {
                self.print_error(format_args!("bad substitution: {e}"));
                Err(Flow::Abort(2))
            }
        }
    }

    pub(super) fn parse_sum(&mut self, text: &str) -> Result<Rc<ArithmeticExpr>, Flow> {
        if let Some(known) = self.parsed_sums.get(text) {
            return Ok(known.clone());
        }
        if !self.stack.can_hold_levels(depth::of_sum(text)) {
            self.print_error("arithmetic expression: it is too deep");
            return Err(Flow::Abort(2));
        }
        match guard::catch_panic(|| brush_parser::arithmetic::parse(text)) {
            Some(Ok(sum)) => {
                let sum = Rc::new(sum);
                cache_parsed(&mut self.parsed_sums, text, sum.clone());
                Ok(sum)
            }
            Some(Err(_)) | None => {
                self.print_error(format_args!("arithmetic syntax error: \"{text}\""));
                Err(Flow::Abort(2))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack() -> depth::Stack {
        depth::Stack::new()
    }

    #[test]
    fn long_words_are_not_kept() {
        let mut cache = HashMap::new();
        for length in [1, CACHED_TEXT_MAX, CACHED_TEXT_MAX + 1] {
            cache_parsed(&mut cache, &"x".repeat(length), length);
        }
        let mut kept: Vec<usize> = cache.into_values().collect();
        kept.sort_unstable();
        assert_eq!(kept, [1, CACHED_TEXT_MAX]);
    }

    #[test]
    fn numbers_that_the_parser_cannot_hold_are_no_panic() {
        let digits = "9".repeat(30);
        for word in ["~", "~+", "~-"] {
            let pieces = word_of(&format!("{word}{digits}"));
            assert_eq!(pieces.as_deref(), Ok(format!("\\~{}{digits}", &word[1..]).as_str()), "{word}");
        }
        assert_eq!(word_of("~1"), Ok("~1".into()));
        assert!(parse_program(&format!("echo x {digits}>f"), stack()).is_err());
        for fine in ["echo x 2>f", "cat <<E\n 12345678901</id>\nE\n", "echo '12345678901>' x12345678901>f"] {
            assert!(parse_program(fine, stack()).is_ok(), "{fine}");
        }
    }

    /// The parser would take memory without end for some (for those of an empty word, too, which
    /// are no errors), and panic at the others.
    #[test]
    fn here_documents_that_the_parser_cannot_read_are_syntax_errors() {
        for text in [
            "cat <<$( (# c",
            "<<$( (#",
            "${x:-$(a<< | b '",
            "cat <<\"\" ; (",
            "cat <<'' \\\n; (",
            "cat <<E; echo $(ls) ${x\n",
            "cat <<E ${y} \"${x:-\n",
            "cat <<E; echo ${y}a \"b$(\nbody\nE\necho in)\"",
            "<<E$( ())",
        ] {
            assert!(parse_program(text, stack()).is_err(), "{text}");
            let mut lines = Assembly::default();
            text.split_inclusive('\n').for_each(|line| drop(lines.push_line(line, stack())));
            let _ = lines.finish(stack());
        }
        for text in ["cat <<\"\" ", "cat <<'' \\\n"] {
            assert!(parse_program(text, stack()).is_ok(), "{text}");
        }
        // What a missing bracket would cost doubles with each of these.
        for text in [format!("$( {}", "(".repeat(40)), "${x:-".repeat(40), "$(".repeat(40)] {
            assert_eq!(here_document(&text, stack()).map(drop), Err("it is too deep".into()));
        }
        assert!(here_document(":( $(echo '(((((((((((') :( :(", stack()).is_ok());
    }

    #[test]
    fn brackets_that_do_not_touch_are_subshells() {
        let shown = |text: &str| parse_program(text, stack()).unwrap().to_string().replace('\n', "");
        for (text, arithmetic) in [
            ("((x = 1))", true),
            ("f() { ((1)) && ( ((2)) ); }", true),
            ("(( (1) + (2) ))", true),
            ("( (x=2) )", false),
            ("(( x=2) )", false),
            ("( (x=2))", false),
            ("if ( (a) ); then ( ( (b) ) ); fi; case a in a) ( \\\n(c) );; esac", false),
            ("cat <<E; ( (a) )\n( (\nE", false),
        ] {
            assert_eq!(shown(text).contains("(("), arithmetic, "{text}");
        }
    }

    #[test]
    fn the_tokenizer_stops_where_the_stack_ends() {
        // In quotes of other rules no estimate sees how deep this is.
        let text = "$(echo a  # it's\n".repeat(2000);
        let stack = depth::Stack::of_thread(1 << 20);
        assert!(!parse_uncached(&text, stack).map(drop).unwrap_err().incomplete);
    }

    /// Returns what the parser got to see of a word that it could parse.
    fn word_of(text: &str) -> Result<String, String> {
        parse_word(text, &options(), stack()).map(|_| without_large_tildes(text).into_owned())
    }

    #[test]
    fn depth_is_bounded_before_the_parser_runs() {
        let deep = |open: &str, close: &str| format!("{}:{}", open.repeat(9999), close.repeat(9999));
        for text in [deep("( ", " )"), deep("{ ", "; }"), deep("if ", "; then :; fi"), deep("$(", ")")] {
            let fault = parse_program(&text, stack()).map(drop).unwrap_err();
            assert!(fault.what.ends_with("too deep inside each other") && !fault.incomplete);
        }
        assert!(parse_word(&deep("${a:-", "}"), &options(), stack()).is_err());
        let quoted = |depth| format!("{}x{}", "\"a$(echo ".repeat(depth), ")\"".repeat(depth));
        assert!(parse_word(&quoted(40), &options(), stack()).is_err(), "and not the parser's time");
        assert!(parse_word(&quoted(6), &options(), stack()).is_ok());
    }

    #[test]
    fn an_interactive_shell_knows_when_to_ask_for_more() {
        for (text, incomplete) in
            [("if true; then\n", true), ("echo 'a\n", true), ("cat <<E\na\n", true), ("echo a; )\n", false)]
        {
            assert_eq!(parse_program(text, stack()).err().map(|f| f.incomplete), Some(incomplete), "{text}");
        }
        assert!(parse_program("echo a | cat\n", stack()).is_ok());
    }
}

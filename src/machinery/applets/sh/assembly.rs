//! Commands that are put together from lines.

use super::depth;
use super::parse::{Fault, parse_program};
use brush_parser::ast::Program;
use std::borrow::Cow;

/// Bodies inside each other whose lines are parsed apart; what is deeper is parsed as a whole.
const LEVELS_MAX: usize = 30;

/// A command that is a syntax error wherever a command may stand. In a quote or a here-document it
/// is text.
const MISPLACED: &str = ": ;;;\n";

/// The head of a `case` that stands before its arms while they are parsed apart.
const CASE_HEAD: &str = "case _ in\n";

/// Texts that end an open quote or expansion. Each stands with the character that a line must have
/// to end it.
const CLOSINGS: [(&str, char); 6] =
    [("'", '\''), ("\"", '"'), ("`", '`'), (")", ')'), (")\"", ')'), ("}", '}')];

/// A here-document whose end has not come yet.
struct HereDocument {
    end: String,
    /// `<<-`: tabs before the end are no part of it.
    tabs: bool,
}

impl HereDocument {
    /// Returns the last here-document that an incomplete text begins, if [`MISPLACED`] would be
    /// text in it.
    fn open_in(text: &str, stack: depth::Stack) -> Option<HereDocument> {
        let (_, behind) = text.lines().filter_map(|line| line.rsplit_once("<<")).next_back()?;
        let (tabs, behind) = match behind.strip_prefix('-') {
            Some(behind) => (true, behind),
            None => (false, behind),
        };
        let word = behind.trim_start().split([' ', '\t', ';', '|', '&', '>', '<', ')']).next()?;
        let end: String = word.chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect();
        let document = HereDocument { end, tabs };
        (!document.end.is_empty() && has_closed(&document.with_end_line(text), stack)).then_some(document)
    }

    /// Returns the text with the line that ends the document.
    fn with_end_line(&self, text: &str) -> String {
        let newline = if text.ends_with('\n') { "" } else { "\n" };
        format!("{text}{newline}{}\n", self.end)
    }

    fn ends_with(&self, line: &str) -> bool {
        let line = line.trim_end_matches('\n');
        self.end == if self.tabs { line.trim_start_matches('\t') } else { line }
    }
}

/// What an incomplete text waits for. Only a line that may be it is worth parsing everything again:
/// else a long command would take time with the square of its length.
#[derive(Default)]
enum Awaited {
    /// Any line may complete the command.
    #[default]
    Anything,
    /// The line that ends a here-document.
    Document(HereDocument),
    /// A character that ends a quote or an expansion.
    Closing(char),
    /// A line that the next one does not continue, as `b` after `a |`.
    Continuation,
    /// The end of a compound command, as `done`. A complete command never is that, so only the
    /// lines of the command that stands there now are parsed:
    ///
    /// ```text
    /// for i in 1 2; do     the whole text waits for `done`
    ///   echo $i            a command: the text still waits
    ///   if [ $i = 1 ]      begins a command, which has a body of its own
    ///   then echo one; fi  completes it
    /// done                 no command: the whole text is parsed, and is complete
    /// ```
    Body(Box<Assembly>),
    /// The end of a `case`, at a place where an arm may stand. Only the lines of the arm that
    /// stands there now are parsed, behind [`CASE_HEAD`].
    Arms(Box<Assembly>),
}

impl Awaited {
    /// Returns what an incomplete text waits for, which is in so many bodies of other commands.
    fn for_text(text: &str, level: usize, stack: depth::Stack) -> Awaited {
        let text = match text.strip_suffix('\n') {
            // The next line continues the last word of this one.
            Some(line) if line.ends_with('\\') => return Awaited::Continuation,
            Some(_) => Cow::Borrowed(text),
            None => Cow::Owned(format!("{text}\n")),
        };
        if is_incomplete(&format!("{text}{MISPLACED}"), stack) {
            if let Some(document) = HereDocument::open_in(&text, stack) {
                return Awaited::Document(document);
            }
            let closing = CLOSINGS.iter().find(|(end, _)| has_closed(&format!("{text}{end}\n"), stack));
            return closing.map_or(Awaited::Anything, |(_, closing)| Awaited::Closing(*closing));
        }
        if level < LEVELS_MAX && !may_be_in_bash_brackets(&text) {
            if is_incomplete(&format!("{text}:\n"), stack) {
                return Awaited::Body(Box::new(Assembly { level: level + 1, ..Assembly::default() }));
            }
            if is_incomplete(&format!("{text}_) :\n"), stack) {
                return Awaited::Arms(Box::new(Assembly::for_arms(level + 1)));
            }
        }
        let last = text.split_inclusive('\n').next_back();
        match last.is_some_and(|line| is_continued(line, stack)) {
            true => Awaited::Continuation,
            false => Awaited::Anything,
        }
    }

    /// Returns whether the text still waits when this line has come.
    fn still_waits_after(&mut self, line: &str, stack: depth::Stack) -> bool {
        match self {
            Awaited::Anything => false,
            Awaited::Document(document) => !document.ends_with(line),
            Awaited::Closing(closing) => !line.contains(*closing),
            Awaited::Continuation => is_continued(line, stack),
            Awaited::Body(command) => !matches!(command.push_line(line, stack), Some(Err(_))),
            Awaited::Arms(arms) => arms.push_to_arms(line, stack),
        }
    }
}

/// Returns whether a line leaves a command incomplete that waits for it, whatever came before: it
/// ends in `\`, or in `|`, `&&` or `||` that a further command makes complete. A line that may hold
/// a comment says nothing.
fn is_continued(line: &str, stack: depth::Stack) -> bool {
    if line.contains('#') {
        return false;
    }
    if let Some(joined) = line.strip_suffix("\\\n") {
        return ends_in_whole_pairs(joined);
    }
    is_incomplete(line, stack) && parse_program(&format!("{line}:\n"), stack).is_ok()
}

/// Returns whether no backslash at the end of a text takes the meaning of what follows.
fn ends_in_whole_pairs(text: &str) -> bool {
    (text.len() - text.trim_end_matches('\\').len()).is_multiple_of(2)
}

fn is_incomplete(text: &str, stack: depth::Stack) -> bool {
    parse_program(text, stack).is_err_and(|fault| fault.incomplete)
}

/// Returns whether nothing is open at the end of a text in which a command would be text.
fn has_closed(text: &str, stack: depth::Stack) -> bool {
    let is_refused = |text: &str| parse_program(text, stack).is_err_and(|fault| !fault.incomplete);
    is_refused(&format!("{text}{MISPLACED}")) && !is_refused(text)
}

/// Returns whether a text may end inside `((…))` or `[[…]]`, where a line that is a command by
/// itself may hold the end of both.
fn may_be_in_bash_brackets(text: &str) -> bool {
    [("((", "))"), ("[[", "]]")].iter().any(|(open, close)| text.rfind(open) > text.rfind(close))
}

/// Lines that are not yet a command.
#[derive(Default)]
pub(super) struct Assembly {
    text: String,
    awaited: Awaited,
    /// How many bodies of other commands it is in.
    level: usize,
}

impl Assembly {
    /// Returns one for the arms of a `case` that is in so many bodies of other commands.
    fn for_arms(level: usize) -> Assembly {
        Assembly { text: CASE_HEAD.into(), level, ..Assembly::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Adds a line to the arms of a `case`, and forgets those that are complete. Returns whether
    /// the `case` goes on.
    fn push_to_arms(&mut self, line: &str, stack: depth::Stack) -> bool {
        // Behind the head, `esac | a)` begins an arm; in the whole text the bracket may end a
        // subshell. It may also stand in the next line, if a backslash joins the two.
        let may_end = line
            .split_once("esac")
            .is_some_and(|(_, behind)| behind.contains(')') || behind.ends_with("\\\n"));
        if may_end || self.push_line(line, stack).is_some() {
            return false;
        }
        // In an arm's commands `_)` would be a fault, in a quote the text would be incomplete.
        if parse_program(&format!("{}_) : ;;\nesac\n", self.text), stack).is_ok() {
            *self = Assembly::for_arms(self.level);
        }
        true
    }

    /// Adds a line. Returns what the lines mean, and forgets them, unless more lines could change
    /// it.
    pub(super) fn push_line(&mut self, line: &str, stack: depth::Stack) -> Option<Result<Program, Fault>> {
        self.text.push_str(line);
        if self.awaited.still_waits_after(line, stack) {
            return None;
        }
        match parse_program(&self.text, stack) {
            Err(fault) if fault.incomplete => {
                self.awaited = Awaited::for_text(&self.text, self.level, stack);
                None
            }
            Ok(_) if goes_on(&self.text, stack) => {
                self.awaited = Awaited::Continuation;
                None
            }
            parsed => {
                *self = Assembly { level: self.level, ..Assembly::default() };
                Some(parsed)
            }
        }
    }

    /// Returns what the lines mean if no more come; `None` if there are none. The end of a text
    /// also ends a here-document in it.
    pub(super) fn finish(&mut self, stack: depth::Stack) -> Option<Result<Program, Fault>> {
        let Assembly { mut text, awaited, .. } = std::mem::take(self);
        if let Awaited::Document(document) = awaited {
            text = document.with_end_line(&text);
        }
        (!text.is_empty()).then(|| parse_program(&text, stack))
    }
}

/// Returns whether a text that is complete ends with a backslash that joins the next line to it. In
/// a comment it joins nothing; there an apostrophe is no fault either.
fn goes_on(text: &str, stack: depth::Stack) -> bool {
    let Some(line) = text.strip_suffix("\\\n") else { return false };
    ends_in_whole_pairs(line)
        && parse_program(&format!("{line}'"), stack).is_err_and(|fault| fault.incomplete)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack() -> depth::Stack {
        depth::Stack::new()
    }

    #[test]
    fn a_backslash_at_the_end_of_a_line_joins_the_next_one() {
        for (line, whole) in [
            ("echo a\n", true),
            ("echo a \\\n", false),
            ("echo a \\\\\n", true),
            ("echo a # \\\n", true),
            ("{ cat <<E\nE\n} \\\n", false),
        ] {
            assert_eq!(Assembly::default().push_line(line, stack()).is_some(), whole, "{line}");
        }
    }

    #[test]
    fn the_end_of_a_text_ends_its_here_document() {
        let end = |text: &str| {
            let mut lines = Assembly::default();
            text.split_inclusive('\n').for_each(|line| assert!(lines.push_line(line, stack()).is_none()));
            lines.finish(stack()).map(|program| program.is_ok())
        };
        assert_eq!(
            (end("cat <<E\na"), end("cat <<-'E'\na\n"), end("cat <<E")),
            (Some(true), Some(true), Some(true))
        );
        assert_eq!((end("if true; then cat <<E\na\nE\n"), end("")), (Some(false), None));
    }

    #[test]
    fn a_here_document_is_read_to_its_end_without_parsing() {
        let open = |text: &str| match Awaited::for_text(text, 0, stack()) {
            Awaited::Document(document) => Some((document.end, document.tabs)),
            _ => None,
        };
        assert_eq!(open("cat <<E\n"), Some(("E".into(), false)));
        assert_eq!(open("cat <<-'END' >f\na\n"), Some(("END".into(), true)));
        assert_eq!(open("cat <<A; cat <<B\na\nA\n"), Some(("B".into(), false)));
        for other in ["cat <<E |\n", "if true; then cat <<E\n"] {
            assert_eq!(open(other), Some(("E".into(), false)), "{other}");
        }
        for other in ["if true; then\n", "echo 'a <<E\n", "echo $((1 <<\n"] {
            assert_eq!(open(other), None, "{other}");
        }
        let document = HereDocument { end: "E".into(), tabs: true };
        assert!(document.ends_with("\t\tE\n") && document.ends_with("E") && !document.ends_with("E \n"));
    }

    #[test]
    fn an_incomplete_text_says_what_it_waits_for() {
        let waits = |text: &str| match Awaited::for_text(text, 0, stack()) {
            Awaited::Anything => "anything".to_string(),
            Awaited::Document(document) => document.end,
            Awaited::Closing(closing) => closing.to_string(),
            Awaited::Continuation => "continuation".into(),
            Awaited::Body(_) => "body".into(),
            Awaited::Arms(_) => "arms".into(),
        };
        for (text, awaited) in [
            ("if true; then\n", "body"),
            ("f() {\n", "body"),
            ("( a\n", "body"),
            ("case x in a)\n", "body"),
            ("{ a |\n", "body"),
            ("case x in\n", "arms"),
            ("case x in\na) b ;;\n", "arms"),
            ("if a; then case x in\n", "arms"),
            ("case x\n", "anything"),
            ("for i in a\n", "anything"),
            ("f()\n", "anything"),
            ("a |\n", "continuation"),
            ("a &&\n", "continuation"),
            ("a | # b |\n", "anything"),
            ("if a \\\n", "continuation"),
            ("((\n", "anything"),
            ("[[ a &&\n", "anything"),
            ("x='\n", "'"),
            ("f() { x=\"\n", "\""),
            ("x=`\n", "`"),
            ("x=$(\n", ")"),
            ("x=\"$(\n", ")"),
            ("x=${y:-\n", "}"),
        ] {
            assert_eq!(waits(text), awaited, "{text}");
        }
    }

    /// The line of each of these texts that completes it is its last one.
    #[test]
    fn a_command_is_complete_at_its_last_line() {
        for text in [
            "if a\nthen\nb\nelif c\nthen\n( d\n)\nelse e; fi\n",
            "f() {\nfor i in a\ndo\ncase $i in\na)\nb\n;;\n(c) d;;\nesac\ndone\n}\n",
            "while a; do\ncat <<E\ndone '\nE\nx='\ndone\n'\nb |\nc\n# it's\n\ndone\n",
            "{ cat <<E\n}\nE\n}\n",
            "((\n1 << 2\n))\n",
            "[[ a &&\nb ]]\n",
            "{ echo \\\n}\n}\n",
            "x=\"$(\nif a; then\necho \"b\"\nfi\n)\"\n",
            "x=$(case a in\na) b\n;;\nesac)\n",
            "(case a in\na) b;;\nesac)\n",
            "(case a in\nb) c ;; esac | cat)\n",
            "(case a in\nb) c ;;\nesac | d |\ncat)\n",
            "(case a in\nb) c ;; esac | \\\ncat)\n",
            "case a in\n# esac\na | b) c ;; # d\n(e)\nf\n;;\ng) h ;; esac\n",
            "case a in\na) cat <<E ;;\nesac\nE\nb) echo ';;\nc) esac' ;;\nesac\n",
            "case a in\na) case b in\nc) d ;;\nesac ;;\ne) f\nesac |\ng\n",
            "if a; then case b in\nc) d ;;\nesac; fi\n",
            "a |\nb | c &&\n# d |\ne \\\n-f ||\ng # h |\n",
            "echo 'a \\\nb |\nc' |\nd\n",
        ] {
            let (mut lines, count) = (Assembly::default(), text.lines().count());
            for (at, line) in text.split_inclusive('\n').enumerate() {
                let parsed = lines.push_line(line, stack());
                assert_eq!(parsed.as_ref().map(Result::is_ok), (at + 1 == count).then_some(true), "{text}");
            }
        }
        // And a fault names its line.
        let mut lines = Assembly::default();
        assert!(
            lines.push_line("if a; then\n", stack()).is_none() && lines.push_line("b\n", stack()).is_none()
        );
        assert!(matches!(lines.push_line("done\n", stack()), Some(Err(fault)) if !fault.incomplete));
    }

    /// Each line of this loop would be parsed with all before it: a million lines.
    #[test]
    fn a_long_command_takes_time_with_its_length() {
        let mut lines = Assembly::default();
        assert!(lines.push_line("for i in 1; do\n", stack()).is_none());
        for turn in 0..1000 {
            assert!(lines.push_line("echo a\n", stack()).is_none());
            let Awaited::Body(inner) = &lines.awaited else { panic!("line {turn}: the loop has a body") };
            assert!(inner.is_empty());
        }
        assert!(matches!(lines.push_line("done\n", stack()), Some(Ok(_))));
    }

    /// So would each line of these.
    #[test]
    fn arms_and_pipelines_take_time_with_their_length() {
        let mut lines = Assembly::default();
        assert!(lines.push_line("case a in\n", stack()).is_none());
        for turn in 0..1000 {
            for line in ["b) c ;;\n", "d)\n", "e\n", ";;\n"] {
                assert!(lines.push_line(line, stack()).is_none());
                let Awaited::Arms(arms) = &lines.awaited else { panic!("turn {turn}: the case has arms") };
                assert!(arms.text.len() < 30, "turn {turn}: {}", arms.text);
            }
            assert!(matches!(&lines.awaited, Awaited::Arms(arms) if arms.text == CASE_HEAD));
        }
        assert!(matches!(lines.push_line("esac\n", stack()), Some(Ok(_))));
        for line in ["a |\n", "a &&\n", "a ||\n", "a \\\n"] {
            assert!(lines.push_line(line, stack()).is_none());
            assert!(lines.awaited.still_waits_after(line, stack()), "{line}");
            assert!(!lines.awaited.still_waits_after("a\n", stack()), "{line}");
            assert!(matches!(lines.push_line("b\n", stack()), Some(Ok(_))));
        }
    }

    #[test]
    fn bodies_inside_each_other_have_an_end() {
        let mut lines = Assembly::default();
        for _ in 0..LEVELS_MAX + 5 {
            assert!(lines.push_line("{\n", stack()).is_none());
        }
        assert!(lines.push_line(":\n", stack()).is_none());
        for left in (0..LEVELS_MAX + 5).rev() {
            assert_eq!(lines.push_line("}\n", stack()).is_some_and(|parsed| parsed.is_ok()), left == 0);
        }
    }
}

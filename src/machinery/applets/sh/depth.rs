//! How deep texts and commands may be inside each other. The parser and the evaluator call
//! themselves, and a stack that overflows ends the process without a message.

use super::{Flow, Shell, apostrophes, guard};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

/// Bytes of stack that the parser takes for one level at most, measured in a build without
/// optimisation.
const LEVEL: usize = 20_000;
/// Bytes of stack that are left for what calls nothing of its own kind, of a small stack a quarter.
const RESERVE: usize = 512 * 1024;
/// Levels that are tried however small the stack is, or the shell would run nothing at all.
const LEVELS_MIN: usize = 4;
/// The stack is taken to be no larger.
const SIZE_MAX: u64 = 64 << 20;
/// Operators of one sum: it is a tree that is as deep as it has operators.
const OPERATORS_MAX: usize = 5000;

/// The stack of the process's only thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stack {
    /// An address in the outermost frame. The stack grows from here to lower addresses.
    top: usize,
    /// Bytes that may be used below that.
    size: usize,
}

/// Returns an address in the frame of the caller.
#[inline(never)]
fn stack_address() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}

impl Stack {
    /// Measures the stack. It is called in the outermost frame.
    pub(super) fn new() -> Stack {
        let limit = getrlimit(Resource::RLIMIT_STACK).map_or(RLIM_INFINITY, |(soft, _)| soft);
        let size = usize::try_from(limit.min(SIZE_MAX)).unwrap_or(RESERVE);
        // The kernel gives up to a quarter to arguments and environment.
        Stack { top: stack_address(), size: size / 4 * 3 }
    }

    /// The stack of a test's thread, which begins here.
    #[cfg(test)]
    pub(super) fn of_thread(size: usize) -> Stack {
        Stack { top: stack_address(), size: size / 4 * 3 }
    }

    /// Returns the bytes that are left, beyond the reserve.
    fn bytes_left(self) -> usize {
        let usable = self.size.saturating_sub(RESERVE.min(self.size / 4)).max(LEVELS_MIN * LEVEL);
        usable.saturating_sub(self.top.saturating_sub(stack_address()))
    }

    /// Returns true if commands may go one level deeper.
    pub(super) fn has_room(self) -> bool {
        self.bytes_left() > 0
    }

    /// Returns true if a text of so many levels can be parsed.
    pub(super) fn can_hold_levels(self, levels: usize) -> bool {
        levels.saturating_mul(LEVEL) <= self.bytes_left()
    }
}

impl Shell {
    /// Checks that another level fits, wherever commands or sums contain each other.
    ///
    /// # Errors
    /// `Abort` if the stack has no room for another level.
    pub(super) fn check_depth(&self) -> Result<(), Flow> {
        if self.stack.has_room() {
            return Ok(());
        }
        self.print_error("commands are too deep inside each other");
        Err(Flow::Abort(2))
    }
}

/// Returns how deep brackets and compound commands in a text are inside each other. Quotes are not
/// looked at, so it is an estimate: the true depth is hardly ever larger.
pub(super) fn of_commands(text: &str) -> usize {
    let (mut brackets, mut words) = (Level::default(), Level::default());
    let mut command = true; // the next word is a command's name
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        if end == 0 {
            match c {
                '(' | '{' => brackets.open(),
                ')' | '}' => brackets.close(),
                _ => {}
            }
            command = matches!(c, ';' | '&' | '|' | '(' | ')' | '{' | '}' | '`' | '\n' | '!')
                || command && c.is_whitespace();
            rest = &rest[c.len_utf8()..];
            continue;
        }
        match &rest[..end] {
            "if" | "while" | "until" if command => words.open(),
            "for" | "case" if command => {
                words.open();
                command = false;
            }
            "fi" | "done" | "esac" if command => words.close(),
            "then" | "do" | "else" | "elif" | "time" => {}
            _ => command = false,
        }
        rest = &rest[end..];
    }
    (brackets.most + words.most).max(of_expansions(text))
}

/// Returns the same of expansions alone, where each type of bracket counts for itself, and of `!`
/// in `[[ … ]]`.
fn of_expansions(text: &str) -> usize {
    let expansions = match text.contains("<<") {
        _ if !text.contains('$') => 0,
        // Quotes have other rules in a here-document, so they are not looked at.
        true => guard::depth(text),
        false => apostrophes::depth_of_all(text),
    };
    let negations = match text.contains("[[") {
        true => text.split_whitespace().filter(|word| *word == "!").count(),
        false => 0,
    };
    expansions + text.matches("$[").count() + negations
}

/// Returns the same of a sum, whose prefix operators, assignments, conditions and powers nest to
/// the right. `usize::MAX` if it has too many operators for a tree.
pub(super) fn of_sum(text: &str) -> usize {
    let (mut brackets, mut run, mut longest, mut right, mut operators) = (Level::default(), 0, 0, 0, 0);
    for c in text.chars() {
        match c {
            '(' => brackets.open(),
            ')' => brackets.close(),
            '?' | '=' => right += 1,
            _ => {}
        }
        let operator = c.is_ascii_punctuation() && c != '_';
        operators += usize::from(operator);
        run = if operator || c.is_whitespace() { run + usize::from(operator) } else { 0 };
        longest = longest.max(run);
    }
    right += text.matches("**").count();
    if operators > OPERATORS_MAX { usize::MAX } else { brackets.most + longest + right }
}

/// A depth that never gets below zero.
#[derive(Default)]
struct Level {
    now: usize,
    most: usize,
}

impl Level {
    fn open(&mut self) {
        self.now += 1;
        self.most = self.most.max(self.now);
    }

    fn close(&mut self) {
        self.now = self.now.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_and_compound_commands_are_counted() {
        for (text, depth) in [
            ("echo a; echo b", 0),
            ("( ( a ) ( b ) )", 2),
            ("if a; then if b; then c; fi; fi; if d; then e; fi", 2),
            ("case x in a) ;; b) ;; esac; while a; do for i in if if; do case $i in esac; done; done", 3),
            ("echo if if if; { { a; }; }", 2),
            ("f() { $(g); }", 2),
            // What stands in quotes, or is another bracket, closes nothing.
            ("$( } $( } $( }", 3),
            ("$( \")\" $( ')' $( \\)", 3),
            ("$( it's } ${ ) ${ ' <<E", 3),
            ("[[ ! ! ! a ]] $[ $[ 1 ] ]", 5),
        ] {
            assert_eq!(of_commands(text), depth, "{text}");
        }
        let (open, close) = ("if ( ".repeat(50), ":); then :; fi; ".repeat(50));
        assert_eq!(of_commands(&format!("{open}{close}")), 100);
    }

    #[test]
    fn a_sum_is_as_deep_as_its_operators_nest() {
        for (text, depth) in
            [("1 + 2 + 3", 1), ("((1))", 4), ("- - -1", 3), ("a = b = 1 ? 2 : 3", 4), ("2**3**4", 4)]
        {
            assert_eq!(of_sum(text), depth, "{text}");
        }
        assert_eq!(of_sum(&"1+".repeat(OPERATORS_MAX + 1)), usize::MAX);
    }

    #[test]
    fn a_stack_ends() {
        let stack = Stack { top: stack_address(), size: 5 * RESERVE };
        let levels = 4 * RESERVE / LEVEL;
        assert!(
            stack.can_hold_levels(levels - 5)
                && !stack.can_hold_levels(levels + 1)
                && !stack.can_hold_levels(usize::MAX)
        );
        assert!(!Stack { top: stack.top + 4 * RESERVE, ..stack }.has_room());
    }

    #[test]
    fn a_small_stack_takes_a_few_levels() {
        // `ulimit -s` in KiB, and the levels that fit: three quarters of three quarters.
        for (limit, levels) in [(1024, 29), (512, 14), (256, 7), (64, LEVELS_MIN), (0, LEVELS_MIN)] {
            let stack = Stack { top: stack_address(), size: limit * 1024 / 4 * 3 };
            assert!(
                stack.has_room() && stack.can_hold_levels(levels - 1) && !stack.can_hold_levels(levels + 1),
                "{limit}"
            );
        }
    }
}

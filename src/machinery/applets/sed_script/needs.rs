//! What a script needs of its call. uutils' sed calls itself for each block inside another one, and
//! when it drops a script, for each command that follows another one. Where the stack ends, the
//! process would end without a message.

/// Blocks (`{…}`) inside each other that a script may have.
const DEPTH_MAX: isize = 1000;
/// Commands that a script may have.
const COMMANDS_MAX: usize = 500_000;

/// A script with more commands or deeper blocks needs a larger stack.
const USUAL_COMMANDS: usize = 1000;
const USUAL_DEPTH: isize = 10;

/// Bytes of stack for everything that does not recurse.
const STACK: usize = 8 << 20;
/// Bytes of stack for a command.
const STACK_OF_COMMAND: usize = 2 << 10;
/// Bytes of stack for a block inside another one.
const STACK_OF_BLOCK: usize = 32 << 10;

/// What one or several scripts need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Whether a pattern refers back to a group (`\1`).
    pub(crate) refers_back: bool,
    commands: usize,
    /// The blocks that the scripts leave open. Negative if they end more blocks than they begin.
    open: isize,
    /// The blocks that are open at once, at most.
    depth: isize,
}

impl Needs {
    /// Counts a command, whose name changes how many blocks are open.
    pub(super) fn count_command(&mut self, name: char) {
        self.commands += 1;
        self.open += match name {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        self.depth = self.depth.max(self.open);
    }

    /// Adds the needs of the script that follows these. It may end their blocks.
    pub(super) fn add(&mut self, next: Needs) {
        self.refers_back |= next.refers_back;
        self.commands += next.commands;
        self.depth = self.depth.max(self.open + next.depth);
        self.open += next.open;
    }

    /// Returns why the script is refused, if it is.
    pub(crate) fn refusal(&self) -> Option<String> {
        if self.depth > DEPTH_MAX {
            return Some(format!("more than {DEPTH_MAX} blocks {{}} are inside each other"));
        }
        let is_long = self.commands > COMMANDS_MAX;
        is_long.then(|| format!("the script has more than {COMMANDS_MAX} commands"))
    }

    /// Returns the stack in bytes that the script needs; `None` if the usual one will do.
    pub(crate) fn stack_size(&self) -> Option<usize> {
        if self.commands <= USUAL_COMMANDS && self.depth <= USUAL_DEPTH {
            return None;
        }
        let depth = usize::try_from(self.depth).unwrap_or(0);
        Some(STACK + self.commands * STACK_OF_COMMAND + depth * STACK_OF_BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Call, adapt_arguments};
    use super::*;
    use std::ffi::OsString;

    fn call(words: &[&str]) -> Call {
        adapt_arguments(words.iter().map(OsString::from).collect())
    }

    #[test]
    fn blocks_are_counted_over_all_scripts() {
        let count = |words: &[&str]| {
            let Needs { commands, open, depth, .. } = call(words).needs;
            (commands, open, depth)
        };
        assert_eq!(count(&["sed", "1{/a/{p;s/}/{/};d}"]), (7, 0, 2));
        assert_eq!(count(&["sed", "-e", "{", "-e", "{p}", "-e", "}"]), (5, 0, 2));
        assert_eq!(count(&["sed", "-e", "a {\\", "-e", "{", "-e", "#{", "-e", "p"]).2, 0);
        let pairs = [&["sed"][..], &["-e", "{", "-e", "p", "-e", "}"].repeat(2000)[..]].concat();
        assert_eq!(count(&pairs), (6000, 0, 1));
    }

    #[test]
    fn scripts_without_measure_are_refused() {
        let deep = |depth: usize| format!("{}p{}", "{".repeat(depth), "}".repeat(depth));
        assert_eq!(call(&["sed", &deep(1000)]).needs.refusal(), None);
        let refused = call(&["sed", &deep(1001)]).needs.refusal();
        assert_eq!(refused.as_deref(), Some("more than 1000 blocks {} are inside each other"));
        assert_eq!(call(&["sed", &"p\n".repeat(500_000)]).needs.refusal(), None);
        let refused = call(&["sed", &"p\n".repeat(500_001)]).needs.refusal();
        assert_eq!(refused.as_deref(), Some("the script has more than 500000 commands"));
    }

    #[test]
    fn a_long_script_needs_a_larger_stack() {
        let stack = |script: &str| call(&["sed", script]).needs.stack_size();
        assert_eq!(stack(&"p;".repeat(1000)), None);
        assert_eq!(stack(&"p;".repeat(2000)), Some(STACK + 2000 * STACK_OF_COMMAND));
        assert!(stack(&format!("{}p{}", "{".repeat(11), "}".repeat(11))).is_some());
    }
}

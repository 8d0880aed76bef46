//! How deep the parser and the interpreter may call themselves. Both recurse over the user's
//! program, and a stack that overflows ends the process without a message. How many bytes one level
//! takes differs between builds, so no number of levels is a bound that holds. The address of a
//! local variable tells how much of the stack is in use.

/// Stack of the thread that reads and runs the program, in bytes. Only used pages take memory.
pub(super) const SIZE: usize = 256 << 20;

/// The stack of the thread that runs now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stack {
    /// An address in the outermost frame. The stack grows from here to lower addresses.
    top: usize,
    /// Bytes.
    size: usize,
}

impl Stack {
    /// Must be called in the outermost frame of a thread that has so many bytes of stack.
    pub(super) fn of_thread(size: usize) -> Stack {
        Stack { top: stack_address(), size }
    }

    /// Returns true if another level fits. A quarter of the stack is kept for what recurses between
    /// two checks and has a bound of its own: regular expressions (`regex::MAX_DEPTH`), and
    /// dropping a syntax tree (`parse::MAX_OPERATORS`).
    pub(super) fn has_room(self) -> bool {
        self.top.saturating_sub(stack_address()) < self.size / 4 * 3
    }

    /// Returns the size for messages.
    pub(super) fn mebibytes(self) -> usize {
        self.size >> 20
    }
}

/// Returns an address in the frame of this function, which is just below the caller's.
#[inline(never)]
fn stack_address() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_stack_is_kept() {
        let stack = Stack::of_thread(1 << 20);
        assert!(stack.has_room());
        assert!(Stack { top: stack.top + (700 << 10), ..stack }.has_room());
        assert!(!Stack { top: stack.top + (800 << 10), ..stack }.has_room());
    }
}

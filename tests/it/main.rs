//! Tests through the real program and across rooms.

mod repl;

//! Further lines, which a command asks for.

/// The answer to a request for one more line.
pub(crate) enum Given {
    Text(String),
    /// Ctrl-C.
    Cut,
    /// The line has bytes that are not UTF-8.
    NotUtf8,
    End,
    /// The terminal cannot be read any more. It ends the session, and a manifest that is half there
    /// is not sent.
    Gone,
}

/// Where the lines of a pasted manifest come from.
pub(crate) trait Lines {
    fn more(&mut self) -> Given;
    /// True if a person types them, or pastes several at once.
    fn typed(&self) -> bool {
        false
    }
    /// Text after a manifest's end, to be run as lines.
    fn give_back(&mut self, _text: String) {}
}

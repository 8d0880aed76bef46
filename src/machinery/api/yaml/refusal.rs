//! Why a document is refused, in Go's words (`goyaml.v2`, which the YAML library of
//! sigs.k8s.io/yaml is a copy of): the line, but no path and no column. Go names the line only of
//! what its parser refuses; here a value that is refused later has it, too.

/// Why the reader refuses a document that the YAML library can read.
#[derive(Debug)]
pub(super) enum Cause {
    /// The value of a key that its map has already. The key is as Go shows it.
    Duplicate(String),
    Message(String),
}

/// An error of a document.
#[derive(Debug)]
pub(super) struct Refusal {
    /// `None` if the library itself cannot read the text.
    pub cause: Option<Cause>,
    /// Knows the place.
    pub error: serde_yaml::Error,
}

impl Refusal {
    /// The line in which the error is, counted from 1. 0 if it is not known.
    pub(super) fn line(&self) -> usize {
        self.error.location().map_or(0, |place| place.line())
    }

    /// Returns the whole error: `error converting YAML to JSON: yaml: line 3: mapping values are
    /// not allowed in this context`.
    pub(super) fn sentence(&self) -> String {
        let (line, message) = match &self.cause {
            Some(Cause::Message(message)) => (self.line(), message.clone()),
            Some(Cause::Duplicate(key)) => (self.line(), format!("key {key} already set in map")),
            None => self.of_library(),
        };
        match line {
            0 => sentence(&message),
            line => sentence(&format!("line {line}: {message}")),
        }
    }

    /// The line and the message of an error of the library: `did not find expected ',' or ']' at
    /// line 2 column 7, while parsing a flow sequence at line 2 column 4` without its places.
    fn of_library(&self) -> (usize, String) {
        let text = self.error.to_string();
        let ends = [" at line ", " at position ", ", while "].map(|end| text.find(end));
        let message = &text[..ends.into_iter().flatten().min().unwrap_or(text.len())];
        // serde puts the path before its own messages.
        let message = message.find("invalid type: ").map_or(message, |at| &message[at..]);
        // Go counts a parser's lines from 0 and a scanner's from 1.
        let is_parser = message.starts_with("did not find expected") && !message.contains("':'");
        (self.line().saturating_sub(usize::from(is_parser)), message.to_string())
    }
}

/// An error without a place.
pub(super) fn sentence(why: &str) -> String {
    format!("error converting YAML to JSON: yaml: {why}")
}

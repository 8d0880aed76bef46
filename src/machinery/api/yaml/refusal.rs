//! Why a document is refused, in the words of go.yaml.in/yaml/v2: with the line, but without a path
//! and a column. Go names the line only of what its scanner and its parser refuse; here a value
//! that is refused later has a line, too.

/// Why the reader refuses a document that the YAML library can read.
#[derive(Debug)]
pub(super) enum Cause {
    /// The value of a key that its map has already.
    Duplicate(Twice),
    /// The key at which `Until::Key` ends the pass.
    AskedKey,
    /// A message of Go's YAML library, which begins all of them with `yaml: `.
    Yaml(String),
    /// A message of what makes JSON of the values that the library read: it has no such beginning.
    Json(String),
}

/// A key that its map has already.
#[derive(Debug)]
pub(super) struct Twice {
    /// As Go shows it.
    pub key: String,
    /// Both keys, counted as the reader meets them.
    pub keys: [usize; 2],
    /// A merge brought the first one, and the second one stands in the map itself.
    pub overrides_merge: bool,
}

/// An error of a document.
#[derive(Debug)]
pub(super) struct Refusal {
    /// `None` if the library itself cannot read the text.
    pub cause: Option<Cause>,
    /// Knows the place.
    pub error: serde_yaml::Error,
}

/// The problems that libyaml's parser finds in the order of tokens (`parserc.go`). All others are
/// its scanner's, or its reader's.
const PARSER_PROBLEMS: [&str; 11] = [
    "did not find expected <stream-start>",
    "did not find expected <document start>",
    "did not find expected node content",
    "did not find expected '-' indicator",
    "did not find expected key",
    "did not find expected ',' or ']'",
    "did not find expected ',' or '}'",
    "found undefined tag handle",
    "found duplicate %YAML directive",
    "found incompatible YAML document",
    "found duplicate %TAG directive",
];

impl Refusal {
    /// Returns the line in which the error is, counted from 1. 0 if it is not known.
    pub(super) fn line(&self) -> usize {
        self.error.location().map_or(0, |place| place.line())
    }

    /// Returns the whole error: `error converting YAML to JSON: yaml: line 3: mapping values are
    /// not allowed in this context`.
    pub(super) fn sentence(&self) -> String {
        let (prefix, line, message) = match &self.cause {
            Some(Cause::Yaml(message)) => ("yaml: ", self.line(), message.clone()),
            Some(Cause::Json(message)) => ("", self.line(), message.clone()),
            Some(Cause::Duplicate(twice)) => {
                ("yaml: ", self.line(), format!("key {} already set in map", twice.key))
            }
            Some(Cause::AskedKey) => ("yaml: ", self.line(), "the key that is asked for".into()),
            None => {
                let (line, message) = self.of_library();
                ("yaml: ", line, message)
            }
        };
        match line {
            0 => converting(&format!("{prefix}{message}")),
            line => converting(&format!("{prefix}line {line}: {message}")),
        }
    }

    /// Returns the line and the message of an error of the library: `did not find expected ',' or
    /// ']' at line 2 column 7, while parsing a flow sequence at line 2 column 4` without its
    /// places.
    fn of_library(&self) -> (usize, String) {
        let text = self.error.to_string();
        let ends = [" at line ", " at position ", ", while "].map(|end| text.find(end));
        let message = &text[..ends.into_iter().flatten().min().unwrap_or(text.len())];
        // serde puts the path before its own messages.
        let message = message.find("invalid type: ").map_or(message, |at| &message[at..]);
        (self.line_as_go(message), message.to_string())
    }

    /// Returns the line as Go counts it. Go counts the lines of its parser's problems from 0, those
    /// of its scanner's from 1, and says nothing of the first line.
    fn line_as_go(&self, problem: &str) -> usize {
        match self.line() {
            0 | 1 => 0,
            line if PARSER_PROBLEMS.contains(&problem) => line - 1,
            line => line,
        }
    }
}

/// Returns an error of the YAML library without a place.
pub(super) fn sentence(why: &str) -> String {
    converting(&format!("yaml: {why}"))
}

fn converting(why: &str) -> String {
    format!("error converting YAML to JSON: {why}")
}

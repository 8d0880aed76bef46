//! Values of options: numbers, times, and data that may lie in a file.

use super::messages::warn;
use super::options::Options;
use std::io;
use std::num::IntErrorKind;
use std::time::Duration;

/// Why a call is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A message that says what is wrong. curl prints a hint to `--help` behind it.
    Usage(String),
    /// A warning that ends the call, and whether `-s` silences it.
    Call { warning: String, is_silent: bool },
}

/// The value of an option.
pub(super) struct Given<'a> {
    pub value: &'a str,
    /// The option as it was written.
    pub shown: &'a str,
    /// Reads a file, or standard input for `-`.
    pub read: &'a dyn Fn(&str) -> io::Result<Vec<u8>>,
}

/// What happens to ends of lines in data from a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    Kept,
    Dropped,
}

impl Given<'_> {
    /// Returns the value as it was written.
    pub(super) fn text(&self) -> Option<String> {
        Some(self.value.to_string())
    }

    /// Returns an error of usage that names the option.
    pub(super) fn refused(&self, what: &str) -> Refused {
        Refused::Usage(format!("option {}: {what}", self.shown))
    }

    /// Returns the value as a whole number.
    ///
    /// # Errors
    /// No whole number, or one of more than 64 bits.
    pub(super) fn number(&self) -> Result<i64, Refused> {
        self.without_blanks().parse().map_err(|e: std::num::ParseIntError| match e.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => self.refused("too large number"),
            _ => self.refused("expected a proper numerical parameter"),
        })
    }

    /// Returns the value as a whole number that is not negative.
    ///
    /// # Errors
    /// As [`Given::number`], and a negative one.
    pub(super) fn count(&self) -> Result<u64, Refused> {
        u64::try_from(self.number()?).map_err(|_| self.refused("expected a positive numerical parameter"))
    }

    /// Returns seconds with parts of them, down to milliseconds; 0 is no limit.
    ///
    /// # Errors
    /// No number, a negative one, or one that curl cannot count in milliseconds.
    pub(super) fn seconds(&self) -> Result<Option<Duration>, Refused> {
        let seconds = self.without_blanks().parse::<f64>().ok().filter(|seconds| !seconds.is_nan());
        let seconds = seconds.ok_or_else(|| self.refused("expected a proper numerical parameter"))?;
        if seconds > i64::MAX as f64 / 1000.0 {
            return Err(self.refused("too large number"));
        }
        if seconds < 0.0 {
            return Err(self.refused("expected a positive numerical parameter"));
        }
        let millis = (seconds * 1000.0) as u64;
        Ok((millis > 0).then(|| Duration::from_millis(millis)))
    }

    /// Returns the value without the blanks that strtol(3) and strtod(3) skip.
    fn without_blanks(&self) -> &str {
        self.value.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c'])
    }

    /// Returns the value itself, or for `@FILE` what the file has. As in curl 7.88.1, a missing
    /// file is reported and counts as empty.
    pub(super) fn data(&self, options: &Options, lines: Lines) -> Vec<u8> {
        let Some(file) = self.value.strip_prefix('@') else { return self.value.into() };
        let mut data = self.content(options, file).unwrap_or_default();
        if lines == Lines::Dropped {
            data.retain(|byte| !matches!(byte, b'\r' | b'\n'));
        }
        data
    }

    /// `content`, `=content`, `name=content`, `@FILE` or `name@FILE`, with the content encoded.
    pub(super) fn url_encoded(&self, options: &Options) -> Vec<u8> {
        let value = self.value;
        let (name, content) = match (value.split_once('='), value.split_once('@')) {
            (Some((name, content)), _) => (name, content.into()),
            (None, Some((name, file))) => match self.content(options, file) {
                Some(content) => (name, content),
                None => return Vec::new(),
            },
            (None, None) => ("", value.into()),
        };
        let content = form_encoded(&content);
        let text = if name.is_empty() { content } else { format!("{name}={content}") };
        text.into_bytes()
    }

    /// Returns what a file has. Warns and returns `None` if it cannot be read.
    fn content(&self, options: &Options, file: &str) -> Option<Vec<u8>> {
        let content = (self.read)(file).ok();
        if content.is_none() && !options.silent {
            // curl names what was written, with the name in front of the `@`.
            let named = self.value.strip_prefix('@').unwrap_or(self.value);
            warn(&format!("Couldn't read data from file \"{named}\", this makes an empty POST."));
        }
        content
    }

    /// Returns the lines of the file of `@FILE`. Nothing for a file that is not there, with a
    /// warning.
    pub(super) fn file_lines(&self, options: &Options, file: &str) -> Vec<String> {
        let Ok(content) = (self.read)(file) else {
            if !options.silent {
                warn(&format!("Failed to open {file}!"));
            }
            return Vec::new();
        };
        let text = String::from_utf8_lossy(&content).into_owned();
        text.lines().filter(|line| !line.is_empty()).map(str::to_string).collect()
    }

    /// Returns a format, or for `@FILE` what the file has, without ends of lines.
    pub(super) fn format(&self, options: &Options) -> Option<String> {
        let Some(file) = self.value.strip_prefix('@') else { return self.text() };
        let Ok(mut content) = (self.read)(file) else {
            if !options.silent {
                warn(&format!("Failed to read {file}"));
            }
            return None;
        };
        content.retain(|byte| !matches!(byte, b'\r' | b'\n'));
        Some(String::from_utf8_lossy(&content).into_owned())
    }

    /// Returns a range of `-r`. What no server understands is sent all the same, with a warning.
    pub(super) fn range(&self, options: &Options) -> String {
        let starts_with_digit = self.value.starts_with(|c: char| c.is_ascii_digit());
        if starts_with_digit && !self.value.contains('-') {
            if !options.silent {
                warn("A specified range MUST include at least one dash (-). Appending one for you!");
            }
            let digits = self.value.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.value.len());
            return format!("{}-", &self.value[..digits]);
        }
        let is_range = |c: char| c.is_ascii_digit() || matches!(c, '-' | ',');
        if !self.value.chars().all(is_range) && !options.silent {
            warn(
                "Invalid character is found in given range. A specified range MUST have only digits in \
                 'start'-'stop'. The server's response to this request is uncertain.",
            );
        }
        self.value.to_string()
    }
}

/// Encodes for a form, as curl 7.88.1 does it: a blank is `+`.
fn form_encoded(content: &[u8]) -> String {
    // RFC 3986, 2.3: these stay as they are.
    const RESERVED: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::percent_encode(content, RESERVED).to_string().replace("%20", "+")
}

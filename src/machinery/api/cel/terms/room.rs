//! The bounds on all expressions of one object, a definition or a policy: each would be small
//! enough by itself.

use super::{PATTERNS_BYTES, Refusal, read};

/// Bytes of the texts of all expressions of an object. A compiled one takes some 80 times as many,
/// and so many take a second to be compiled each time. Upstream bounds the estimated cost of a
/// definition's rules; those of the Gateway API are some 20 KB in one definition.
const TEXTS_MAX: usize = 512 << 10;
/// Bytes that each expression counts for beside its text: it is compiled on a thread of its own.
const TEXT: usize = 100;
/// Bytes of all patterns of the expressions of an object, compiled.
const ALL_PATTERNS_BYTES: usize = 32 << 20;

/// What is left for the expressions of one object.
pub(crate) struct Room {
    /// Bytes of texts.
    texts: usize,
    /// Bytes of compiled patterns.
    patterns: usize,
}

impl Default for Room {
    fn default() -> Self {
        Room { texts: TEXTS_MAX, patterns: ALL_PATTERNS_BYTES }
    }
}

impl Room {
    /// Takes an expression off what is left, before it is compiled with all others. Only one that
    /// may have patterns is compiled for that.
    ///
    /// # Errors
    /// It takes more than is left.
    pub(crate) fn take(&mut self, source: &str) -> Result<(), String> {
        self.texts = self
            .texts
            .checked_sub(TEXT + source.len())
            .ok_or_else(|| format!("the expressions have more than {TEXTS_MAX} bytes together"))?;
        if source.contains("matches") || source.contains("find") {
            let bytes = match read(source) {
                Ok(term) => term.pattern_bytes,
                Err(Refusal::PatternsTooLarge) => PATTERNS_BYTES,
                Err(Refusal::Other(_)) => 0,
            };
            self.patterns = self.patterns.checked_sub(bytes).ok_or_else(|| {
                format!(
                    "the patterns of the expressions take more than {ALL_PATTERNS_BYTES} bytes when compiled"
                )
            })?;
        }
        Ok(())
    }
}

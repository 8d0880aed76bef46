//! Bounds the strings in a terminal's output.
//!
//! An operating system command is `ESC ]`, a text, and BEL or `ESC \`: a window's title, for
//! example. The emulator's parser collects the text until it ends. The log of a pod that begins one
//! and never ends it would fill the memory, so the text's rest is dropped.

/// Bytes of a text that are passed on.
const TEXT_MAX: usize = 64 << 10;

/// Where in the output the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Other,
    /// Behind ESC.
    Escape,
    /// In a text of which so many bytes were passed on.
    Text(usize),
}

/// Follows a terminal's output, byte by byte.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bound(Place);

impl Bound {
    /// Takes in a byte; false if it is to be dropped. Pure but for the place.
    pub(super) fn passes(&mut self, byte: u8) -> bool {
        self.0 = match (self.0, byte) {
            (_, 0x1b) => Place::Escape,
            // CAN and SUB end whatever has begun, and BEL ends a text.
            (_, 0x18 | 0x1a) | (Place::Text(_), 0x07) => Place::Other,
            (Place::Escape, b']') => Place::Text(0),
            // Other control characters are carried out inside of a sequence, which goes on.
            (Place::Escape, ..0x20 | 0x7f) => Place::Escape,
            (Place::Text(TEXT_MAX), _) => return false,
            (Place::Text(passed), _) => Place::Text(passed + 1),
            (Place::Escape | Place::Other, _) => Place::Other,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(output: &[u8]) -> Vec<u8> {
        let mut bound = Bound::default();
        output.iter().copied().filter(|byte| bound.passes(*byte)).collect()
    }

    #[test]
    fn what_ends_is_passed_on_as_it_is() {
        let all = b"a\x1b]0;title\x07b\x1b]8;;x\x1b\\c\x1b[31md\x1b\n]e\xed\x8c\x8c\x1b]\x18f";
        assert_eq!(passed(all), all);
        let text = vec![b']'; 3 * TEXT_MAX];
        assert_eq!(passed(&text), text, "no escape character");
    }

    #[test]
    fn the_rest_of_an_endless_text_is_dropped_and_what_follows_is_not() {
        for (begin, end) in
            [(&b"\x1b]0;"[..], &b"\x07$ "[..]), (b"\x1b\n]", b"\x1b[31m"), (b"\x1b]", b"\x18x")]
        {
            let output = [begin, &vec![b'x'; 5 * TEXT_MAX], end].concat();
            let passed = passed(&output);
            assert!(passed.len() <= TEXT_MAX + begin.len() + end.len() && passed.ends_with(end));
        }
    }
}

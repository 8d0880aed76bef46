//! Redis' protocol, version 2 (RESP2): requests as a server reads them, and replies as it writes
//! them. Specification: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

/// Bytes of one argument.
pub(super) const BULK_MAX: usize = 1 << 20;
/// Arguments of one request.
const ARGUMENTS_MAX: usize = 16 << 10;
/// Bytes of one request, with [`ARGUMENT`] for each of its arguments.
const REQUEST_MAX: usize = 4 << 20;
/// What an argument costs beside its bytes, about.
const ARGUMENT: usize = 32;
/// Bytes of a line: of a request without lengths, or of a length.
const LINE_MAX: usize = 64 << 10;
/// Bytes of one reply.
const REPLY_MAX: usize = 32 << 20;
/// Room that a reader keeps when it has nothing to read.
const SPARE: usize = 64 << 10;

/// A command's name and its arguments.
pub(super) type Words = Vec<Vec<u8>>;

/// Reads requests from bytes that come in pieces. Each byte is looked at once, however small the
/// pieces are.
#[derive(Default)]
pub(super) struct Requests {
    input: Vec<u8>,
    /// How many bytes of `input` have been read.
    at: usize,
    /// How many bytes of `input` are known to have no end of a line.
    scanned: usize,
    words: Words,
    /// Bytes of the words so far.
    size: usize,
    /// Words that are still to come; `None` between two requests.
    missing: Option<usize>,
    /// Length of the word that comes next, once it is known.
    length: Option<usize>,
}

impl Requests {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Returns the bytes that it keeps in memory.
    pub(super) fn held_bytes(&self) -> usize {
        self.input.capacity() + self.size
    }

    /// Has it read all that was pushed, and no part of a request?
    pub(super) fn is_between_two(&self) -> bool {
        self.missing.is_none() && self.at == self.input.len()
    }

    /// Returns the next whole request, or `None` until more bytes have come.
    ///
    /// # Errors
    /// The client does not speak the protocol, or wants too much; where the next request would
    /// begin is unknown, so the connection has to end.
    pub(super) fn next(&mut self) -> Result<Option<Words>, String> {
        loop {
            let progress = match (self.missing, self.length) {
                (None, _) => self.first_line()?,
                (Some(_), None) => self.length_line()?.then_some(None),
                (Some(missing), Some(length)) => self.take_word(missing, length)?,
            };
            match progress {
                None => {
                    self.compact();
                    return Ok(None);
                }
                Some(Some(words)) => return Ok(Some(words)),
                Some(None) => {}
            }
        }
    }

    /// Gives memory back that is not needed any more.
    fn compact(&mut self) {
        if self.at == self.input.len() || self.at > SPARE {
            self.input.drain(..self.at);
            self.scanned = self.scanned.saturating_sub(self.at);
            self.at = 0;
        }
        if self.input.is_empty() && self.input.capacity() > SPARE {
            self.input = Vec::new();
        }
    }

    /// Reads the next line without its end.
    fn take_line(&mut self, too_long: &str) -> Result<Option<Vec<u8>>, String> {
        let from = self.scanned.max(self.at);
        let end = self.input[from..].iter().position(|b| *b == b'\n').map(|found| from + found);
        let length = end.unwrap_or(self.input.len()) - self.at;
        if length > LINE_MAX {
            return Err(format!("Protocol error: {too_long}"));
        }
        let Some(end) = end else {
            self.scanned = self.input.len();
            return Ok(None);
        };
        let line = &self.input[self.at..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        self.at = end + 1;
        Ok(Some(line))
    }

    /// Reads the line with which a request begins: `*2`, or the whole request as a person types it.
    fn first_line(&mut self) -> Result<Option<Option<Words>>, String> {
        let is_array = self.input.get(self.at) == Some(&b'*');
        let too_long = if is_array { "too big mbulk count string" } else { "too big inline request" };
        let Some(line) = self.take_line(too_long)? else { return Ok(None) };
        if !is_array {
            let words = split_line(&line).ok_or("Protocol error: unbalanced quotes in request")?;
            // What is run is logged as an array, and the log is read with the limits of arrays.
            if words.len() > ARGUMENTS_MAX {
                return Err(format!("Protocol error: more than {ARGUMENTS_MAX} words in an inline request"));
            }
            return Ok(Some((!words.is_empty()).then_some(words)));
        }
        let count = parse_integer(&line[1..]).filter(|count| *count <= ARGUMENTS_MAX as i64);
        match count.ok_or("Protocol error: invalid multibulk length")? {
            ..=0 => {}
            count => self.missing = usize::try_from(count).ok(),
        }
        Ok(Some(None))
    }

    /// Reads a line `$3` before a word of three bytes. Returns false until it has come.
    fn length_line(&mut self) -> Result<bool, String> {
        let Some(line) = self.take_line("too big bulk count string")? else { return Ok(false) };
        let Some((b'$', digits)) = line.split_first() else {
            let got = line.first().map_or(' ', |byte| char::from(*byte));
            return Err(format!("Protocol error: expected '$', got '{}'", printable(got)));
        };
        let length = parse_integer(digits).and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= BULK_MAX);
        let length = length.ok_or("Protocol error: invalid bulk length")?;
        self.size += length + ARGUMENT;
        if self.size > REQUEST_MAX {
            return Err(format!("Protocol error: a request is longer than {REQUEST_MAX} bytes"));
        }
        self.length = Some(length);
        Ok(true)
    }

    fn take_word(&mut self, missing: usize, length: usize) -> Result<Option<Option<Words>>, String> {
        let Some(word) = self.input.get(self.at..self.at + length + 2) else { return Ok(None) };
        let Some(word) = word.strip_suffix(b"\r\n") else {
            return Err("Protocol error: no end of line after an argument".into());
        };
        self.words.push(word.to_vec());
        self.at += length + 2;
        self.length = None;
        if missing > 1 {
            self.missing = Some(missing - 1);
            return Ok(Some(None));
        }
        (self.missing, self.size) = (None, 0);
        Ok(Some(Some(std::mem::take(&mut self.words))))
    }
}

fn printable(letter: char) -> char {
    if letter.is_ascii_graphic() { letter } else { '?' }
}

/// Returns a number as Redis reads it: without `+`, spaces and leading zeros.
pub(super) fn parse_integer(text: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

/// Returns the words of a line as a person types it, with `"…"` (and its `\n`, `\x41`, …) and `'…'`
/// as redis-cli reads them. `None` if a quote is not closed, or is followed by something else than
/// a space.
///
/// Example: `set "a b" 'c'` is `set`, `a b`, `c`.
pub(super) fn split_line(line: &[u8]) -> Option<Words> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        let mut word = Vec::new();
        rest = match rest[0] {
            quote @ (b'"' | b'\'') => after_quote(parse_quoted(&rest[1..], quote, &mut word)?)?,
            _ => parse_bare_word(rest, &mut word)?,
        };
        words.push(word);
        rest = rest.trim_ascii_start();
    }
    Some(words)
}

/// Checks what follows a closing quote: only a space may.
fn after_quote(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(u8::is_ascii_whitespace).then_some(rest)
}

/// Reads a word up to a space. A quote may begin in the middle of it: `a"b c"`.
fn parse_bare_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    while let Some((byte, more)) = rest.split_first() {
        match byte {
            b'"' | b'\'' => return after_quote(parse_quoted(more, *byte, word)?),
            byte if byte.is_ascii_whitespace() || *byte == 0 => return Some(more),
            byte => word.push(*byte),
        }
        rest = more;
    }
    Some(rest)
}

/// Reads what is in quotes; returns what follows the closing one.
fn parse_quoted<'a>(mut rest: &'a [u8], quote: u8, word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match (quote, rest) {
            (_, []) => return None,
            (b'"', [b'\\', b'x', high, low, more @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
                word.push(digit(*high) << 4 | digit(*low));
                more
            }
            (b'"', [b'\\', letter, more @ ..]) => {
                word.push(match letter {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                more
            }
            (b'\'', [b'\\', b'\'', more @ ..]) => {
                word.push(b'\'');
                more
            }
            (_, [byte, more @ ..]) if *byte == quote => return Some(more),
            (_, [byte, more @ ..]) => {
                word.push(*byte);
                more
            }
        };
    }
}

/// Writes a request as clients send it.
pub(super) fn write_request(words: &[impl AsRef<[u8]>], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        write_bulk(word.as_ref(), out);
    }
}

fn write_bulk(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Replies that wait to be sent.
#[derive(Default)]
pub(super) struct Replies {
    pub bytes: Vec<u8>,
    /// Where the reply begins that is being written.
    start: usize,
    is_too_long: bool,
}

impl Replies {
    fn has_room(&mut self, for_bytes: usize) -> bool {
        self.is_too_long |= self.bytes.len() - self.start + for_bytes > REPLY_MAX;
        !self.is_too_long
    }

    fn write_line(&mut self, kind: char, text: &str) {
        if self.has_room(text.len()) {
            // A reply of one line stays one, whatever a client has put into it.
            let text: String = text.chars().map(|c| if c == '\r' || c == '\n' { ' ' } else { c }).collect();
            self.bytes.extend_from_slice(format!("{kind}{text}\r\n").as_bytes());
        }
    }

    pub(super) fn status(&mut self, text: &str) {
        self.write_line('+', text);
    }

    pub(super) fn ok(&mut self) {
        self.status("OK");
    }

    pub(super) fn integer(&mut self, number: i64) {
        self.write_line(':', &number.to_string());
    }

    /// Writes a number of things, e.g. of keys.
    pub(super) fn count(&mut self, count: usize) {
        self.integer(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn bulk(&mut self, bytes: &[u8]) {
        if self.has_room(bytes.len() + ARGUMENT) {
            write_bulk(bytes, &mut self.bytes);
        }
    }

    /// Writes a text, or nil.
    pub(super) fn bulk_or_nil(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.write_line('$', "-1"),
        }
    }

    /// Begins an array: so many replies follow.
    pub(super) fn array(&mut self, count: usize) {
        self.write_line('*', &count.to_string());
    }

    pub(super) fn nil_array(&mut self) {
        self.write_line('*', "-1");
    }

    /// Writes an array of texts.
    pub(super) fn bulks<'a>(&mut self, all: impl ExactSizeIterator<Item = &'a Vec<u8>>) {
        self.array(all.len());
        all.for_each(|bytes| self.bulk(bytes));
    }

    /// Ends a reply. With an error, what was written of it is taken back.
    pub(super) fn finish(&mut self, done: Result<(), impl AsRef<str>>) {
        if let Err(error) = &done {
            self.replace(error.as_ref());
        }
        if self.is_too_long {
            self.replace(&format!("ERR the reply would be longer than {REPLY_MAX} bytes"));
        }
        self.start = self.bytes.len();
    }

    fn replace(&mut self, error: &str) {
        self.bytes.truncate(self.start);
        self.is_too_long = false;
        self.write_line('-', error);
    }

    /// Takes the replies that are finished.
    pub(super) fn take_finished(&mut self) -> Vec<u8> {
        self.start = 0;
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> Result<Vec<Words>, String> {
        let (mut requests, mut found) = (Requests::default(), Vec::new());
        for piece in pieces {
            requests.push(piece);
            while let Some(words) = requests.next()? {
                found.push(words);
            }
        }
        Ok(found)
    }

    fn words(all: &[&str]) -> Words {
        all.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn requests_may_come_byte_by_byte_or_many_at_once() {
        let text =
            b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*0\r\n\r\nset a 'b c'\n*1\r\n$4\r\nPI\r\n\r\n*1\r\n$0\r\n\r\n";
        let want = vec![words(&["GET", "a"]), words(&["set", "a", "b c"]), words(&["PI\r\n"]), words(&[""])];
        assert_eq!(all(&[text]), Ok(want.clone()));
        assert_eq!(all(&text.chunks(1).collect::<Vec<_>>()), Ok(want));
    }

    #[test]
    fn what_is_too_long_or_broken_ends_the_connection() {
        let fault = |text: &[u8]| all(&[text]).unwrap_err();
        assert_eq!(fault(b"*1\r\n:1\r\n"), "Protocol error: expected '$', got ':'");
        assert_eq!(fault(b"*1\r\n\r\n"), "Protocol error: expected '$', got '?'");
        assert_eq!(fault(b"*x\r\n"), "Protocol error: invalid multibulk length");
        assert_eq!(fault(b"*99999999999\r\n"), "Protocol error: invalid multibulk length");
        assert_eq!(fault(b"*1\r\n$-1\r\n"), "Protocol error: invalid bulk length");
        assert_eq!(fault(b"*1\r\n$1048577\r\n"), "Protocol error: invalid bulk length");
        assert_eq!(fault(b"*1\r\n$1\r\nabc"), "Protocol error: no end of line after an argument");
        assert_eq!(fault(b"get \"a\n"), "Protocol error: unbalanced quotes in request");
        assert_eq!(fault(&vec![b'a'; LINE_MAX + 1]), "Protocol error: too big inline request");
        assert_eq!(fault(&vec![b'*'; LINE_MAX + 1]), "Protocol error: too big mbulk count string");
        let many = [&b"x ".repeat(ARGUMENTS_MAX + 1)[..], b"\n"].concat();
        assert_eq!(fault(&many), "Protocol error: more than 16384 words in an inline request");
        let many = b"*5\r\n".iter().copied().chain((0..5).flat_map(|_| {
            let word = vec![b'x'; BULK_MAX];
            [&b"$1048576\r\n"[..], &word, b"\r\n"].concat()
        }));
        assert!(fault(&many.collect::<Vec<_>>()).contains("longer than 4194304 bytes"));
    }

    #[test]
    fn memory_is_given_back() {
        let mut requests = Requests::default();
        let mut text = Vec::new();
        write_request(&["SET", "a", &"x".repeat(BULK_MAX)], &mut text);
        requests.push(&text);
        assert!(requests.held_bytes() > BULK_MAX);
        assert_eq!(requests.next().map(|r| r.map(|w| w.len())), Ok(Some(3)));
        assert_eq!(requests.next(), Ok(None));
        assert!(requests.held_bytes() <= SPARE);
    }

    #[test]
    fn a_line_is_split_as_redis_cli_does() {
        assert_eq!(
            split_line(br#" set "a\x41\n\"" 'it\'s' b "#),
            Some(words(&["set", "aA\n\"", "it's", "b"]))
        );
        assert_eq!(split_line(b"a\"b c\" d"), Some(words(&["ab c", "d"])));
        assert_eq!((split_line(b""), split_line(b"''")), (Some(vec![]), Some(words(&[""]))));
        assert_eq!((split_line(b"\"a"), split_line(b"\"a\"b"), split_line(b"'")), (None, None, None));
    }

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!(
            (parse_integer(b"-5"), parse_integer(b"0"), parse_integer(b"9223372036854775807")),
            (Some(-5), Some(0), Some(i64::MAX))
        );
        for text in ["", "+1", "01", "-0", " 1", "1.0", "9223372036854775808"] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_reply_that_is_too_long_becomes_an_error() {
        let mut replies = Replies::default();
        replies.integer(1);
        replies.finish(Ok::<(), &str>(()));
        (0..40).for_each(|_| replies.bulk(&vec![b'x'; 1 << 20]));
        replies.finish(Ok::<(), &str>(()));
        replies.array(3);
        replies.finish(Err("ERR a\r\n+b"));
        let text = String::from_utf8(replies.take_finished()).unwrap();
        assert_eq!(text, ":1\r\n-ERR the reply would be longer than 33554432 bytes\r\n-ERR a  +b\r\n");
    }
}

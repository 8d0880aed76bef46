//! YAML bodies and files: the one place that knows how Kubernetes reads plain words.
//!
//! Its YAML library is of version 1.1: `y`, `no` and `on` are booleans, `0644` is an octal number. Ours is of 1.2, where they are text.
//! So a plain word that means something else in 1.1 is respelled before it is read; quoted text, block text and comments stay.

use serde_json::Value;

/// The first document as JSON. The error has line and column.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    let text = old_words(bytes);
    let value: serde_yaml::Value =
        serde_yaml::from_slice(&text).map_err(|e| format!("error converting YAML to JSON: yaml: {e}"))?;
    serde_json::to_value(value).map_err(|e| format!("error converting YAML to JSON: {e}"))
}

/// What a plain word of 1.1 is called in 1.2, if that differs.
fn respelled(word: &str, flags: bool) -> Option<String> {
    match word {
        _ if !flags => {}
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Some("true".into()),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Some("false".into()),
        _ => {}
    }
    let (sign, digits) = match word.as_bytes().first()? {
        b'-' => ("-", &word[1..]),
        b'+' => ("", &word[1..]),
        _ => ("", word),
    };
    let rest = digits.strip_prefix('0').filter(|r| !r.is_empty() && r.bytes().all(|b| b.is_ascii_digit()))?;
    let number = u64::from_str_radix(rest, 8).or_else(|_| rest.parse()).ok()?;
    Some(format!("{sign}{number}"))
}

/// The text with its plain words in the spelling of YAML 1.2; lines stay where they are.
pub fn old_words(bytes: &[u8]) -> Vec<u8> {
    respell(bytes, true)
}

/// The text with its octal numbers in the spelling of YAML 1.2; `yes` and `on` stay text, as for kustomize.
pub fn old_numbers(bytes: &[u8]) -> Vec<u8> {
    respell(bytes, false)
}

fn respell(bytes: &[u8], flags: bool) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(bytes) else { return bytes.to_vec() };
    let mut reader = Reader { flags, ..Reader::default() };
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        reader.line(line, &mut out);
    }
    out.into_bytes()
}

/// Where in a document a line starts.
#[derive(Default)]
struct Reader {
    /// Words like `yes` are booleans.
    flags: bool,
    /// Inside of text in quotes that goes over lines.
    quote: Option<char>,
    /// Brackets and braces that are open.
    depth: usize,
    /// A `|` or `>` was seen on a line indented so far; its text starts with the next line that is not empty.
    header: Option<usize>,
    /// Inside of block text that is indented so far.
    block: Option<usize>,
    /// The last line ended inside a plain text; it was indented so far.
    open: Option<usize>,
}

impl Reader {
    fn line(&mut self, line: &str, out: &mut String) {
        let bare = line.trim_end_matches(['\n', '\r']);
        let indent = bare.len() - bare.trim_start_matches(' ').len();
        let blank = bare.trim().is_empty();
        if blank && self.quote.is_none() {
            return out.push_str(line);
        }
        if let Some(parent) = self.header.take()
            && indent > parent
        {
            self.block = Some(indent);
        }
        match self.block {
            Some(block) if indent >= block => return out.push_str(line),
            _ => self.block = None,
        }
        let continues =
            self.depth == 0 && self.quote.is_none() && self.open.take().is_some_and(|o| indent > o);
        self.tokens(bare, indent, continues, out);
        out.push_str(&line[bare.len()..]);
    }

    fn tokens(&mut self, line: &str, indent: usize, continues: bool, out: &mut String) {
        let mut at = 0;
        let mut first = true;
        while at < line.len() {
            let rest = &line[at..];
            if let Some(quote) = self.quote {
                let end = closing(rest, quote);
                out.push_str(&rest[..end.unwrap_or(rest.len())]);
                if end.is_some() {
                    self.quote = None;
                }
                at += end.unwrap_or(rest.len());
                continue;
            }
            let c = rest.chars().next().unwrap_or(' ');
            let follows_space = at == 0 || line[..at].ends_with([' ', '\t']);
            let length = match c {
                ' ' | '\t' => 1,
                '#' if follows_space => rest.len(),
                '"' | '\'' => {
                    self.quote = Some(c);
                    first = false;
                    1
                }
                '[' | '{' => {
                    self.depth += 1;
                    1
                }
                ']' | '}' => {
                    self.depth = self.depth.saturating_sub(1);
                    1
                }
                ',' if self.depth > 0 => 1,
                '-' | '?' | ':' if rest.len() == 1 || rest[1..].starts_with([' ', '\t']) => 1,
                '&' | '!' | '*' => rest.find([' ', '\t', ',', ']', '}']).unwrap_or(rest.len()),
                '|' | '>' if self.depth == 0 => {
                    self.header = Some(indent);
                    rest.len()
                }
                _ => {
                    let end = plain_end(rest, self.depth > 0);
                    let word = rest[..end].trim_end();
                    let is_key = rest[end..].starts_with(':');
                    let more = continues && first && !is_key;
                    match respelled(word, self.flags).filter(|_| !more) {
                        Some(new) => out.push_str(&new),
                        None => out.push_str(word),
                    }
                    out.push_str(&rest[word.len()..end]);
                    if !is_key && rest[end..].trim().is_empty() {
                        self.open = Some(if more { indent.saturating_sub(1) } else { indent });
                    }
                    first = false;
                    at += end;
                    continue;
                }
            };
            out.push_str(&rest[..length]);
            at += length;
        }
    }
}

/// Where text in quotes ends, behind the quote.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        if c == '\\' && quote == '"' {
            chars.next();
        } else if c == quote {
            if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\'') {
                chars.next();
            } else {
                return Some(i + 1);
            }
        }
    }
    None
}

/// Where a plain text ends, which has at least one character: at `: `, ` #`, in brackets also at a comma or bracket, else with its line.
fn plain_end(text: &str, flow: bool) -> usize {
    let bytes = text.as_bytes();
    let space = |i: usize| bytes.get(i).is_none_or(|b| matches!(b, b' ' | b'\t'));
    for (i, b) in bytes.iter().enumerate().skip(1) {
        let ends = match b {
            b':' => space(i + 1) || (flow && matches!(bytes.get(i + 1), Some(b',' | b']' | b'}'))),
            b'#' => matches!(bytes[i - 1], b' ' | b'\t'),
            b',' | b'[' | b']' | b'{' | b'}' => flow,
            _ => false,
        };
        if ends {
            return i;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(text: &str) -> Value {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn plain_words_are_those_of_the_older_yaml() {
        assert_eq!(
            read("a: yes\nb: No\nc: on # really\nd: y\n"),
            json!({"a": true, "b": false, "c": true, "d": true})
        );
        assert_eq!(
            read("- off\n- [n, 'n', \"y\", {on: no}]\n"),
            json!([false, [false, "n", "y", {"true": false}]])
        );
        assert_eq!(
            read("mode: 0644\nplain: 0\nzip: 08\ntext: '0644'\nhex: 0x1F\n"),
            json!({"mode": 420, "plain": 0, "zip": 8, "text": "0644", "hex": 31})
        );
    }

    #[test]
    fn kustomize_takes_only_the_numbers() {
        assert_eq!(old_numbers(b"a: yes\nmode: 0644\n"), b"a: yes\nmode: 420\n");
    }

    #[test]
    fn a_colon_before_a_comma_is_passed() {
        for text in ["{a:,b: no}", "[:]", "{:}", "[a:]", "{a:}", ":,"] {
            let _ = parse(text.as_bytes()); // whatever it says, it comes to an end
        }
        assert_eq!(old_words(b"{a:,b: no}"), b"{a:,b: false}");
    }

    #[test]
    fn text_stays_text() {
        assert_eq!(
            read("a: yes please\nb: say no\nc: \"on\"\n"),
            json!({"a": "yes please", "b": "say no", "c": "on"})
        );
        assert_eq!(
            read("a: |\n  yes\n  no\nb: >-\n   on\n\n   off\nc: no\n"),
            json!({"a": "yes\nno\n", "b": "on\noff", "c": false})
        );
        assert_eq!(read("- a: |\n    yes\n- no\n"), json!([{"a": "yes\n"}, false]));
        assert_eq!(
            read("a: first\n  yes\n  no\nb: 'x\n\n  yes'\n"),
            json!({"a": "first yes no", "b": "x\nyes"})
        );
        assert_eq!(
            read("url: http://x/y\nb: a#no\nc: &x on\nd: *x\n"),
            json!({"url": "http://x/y", "b": "a#no", "c": true, "d": true})
        );
        assert_eq!(
            read("command: [\"sh\", \"-c\", \"echo yes, no\"]\nx: no\n"),
            json!({"command": ["sh", "-c", "echo yes, no"], "x": false})
        );
    }

    proptest! {
        /// Whatever a document without such words says, it says the same afterwards.
        #[test]
        fn other_words_are_left_alone(words in proptest::collection::vec("[a-m]{1,6}( [a-m]{1,5}){0,3}", 1..6)) {
            let text: String = words.iter().enumerate().map(|(i, w)| format!("k{i}: {w}\nq{i}: \"{w}\"\n")).collect();
            prop_assume!(words.iter().all(|w| respelled(w, true).is_none()));
            prop_assert_eq!(old_words(text.as_bytes()), text.as_bytes());
        }
    }
}

//! A text of YAML 1.1 in words of 1.2: the tokens are found first, then plain words are resolved.

use super::plain::{self, Words};
use super::scan::{self, BYTE_ORDER_MARK, Kind, Most, Scanned, Token, is_break};
use super::tags;
use std::collections::BTreeMap;

/// A text in the words of YAML 1.2.
pub(super) struct Respelled {
    pub text: String,
    /// How many brackets are open at most.
    pub deepest: usize,
    /// How many nodes there are, as [`Scanned::nodes`] counts them.
    pub nodes: usize,
}

/// Returns the text with its plain words in the spelling of YAML 1.2. Where there is more than
/// `most` allows, the rest of the text is as it was. `words`: which of 1.1 there are.
pub(super) fn respell(text: &str, words: Words, most: Most) -> Respelled {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let Scanned { tokens, deepest, nodes } = scan::scan(text, most);
    let mut respeller = Respeller::new(words);
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for token in &tokens {
        let old = &text[token.start..token.end];
        if let Some(new) = respeller.respell_token(token, old) {
            out.push_str(&text[done..token.start]);
            out.push_str(&new);
            done = token.end;
        }
    }
    out.push_str(&text[done..]);
    Respelled { text: out, deepest, nodes }
}

struct Respeller {
    words: Words,
    /// The tag of the node that comes next.
    tag: Option<tags::Kind>,
    /// What the handles of tags stand for: `!e!` of `%TAG !e! tag:example.org:`.
    handles: BTreeMap<String, String>,
    /// Directives were read for the document that comes next.
    has_directives: bool,
    /// How often an anchor was set. One that is set again gets a name of its own: the YAML library
    /// mixes it up with the next anchor.
    anchors: BTreeMap<String, usize>,
}

impl Respeller {
    fn new(words: Words) -> Respeller {
        let (handles, anchors) = (BTreeMap::new(), BTreeMap::new());
        Respeller { words, tag: None, handles, has_directives: false, anchors }
    }

    /// Returns the other spelling of a token, if it needs one.
    fn respell_token(&mut self, token: &Token, old: &str) -> Option<String> {
        // A tag before a key belongs to the map.
        let tag = self.tag.take().filter(|_| !token.is_key);
        match token.kind {
            Kind::Plain if token.needs_quotes => Some(plain::quoted(old)),
            Kind::Plain => self.plain(old, tag),
            Kind::Tag => {
                let tag = self.resolve(old);
                let new = match &tag {
                    tags::Kind::Core(name) => Some(tags::respelled(name)),
                    _ => None,
                };
                self.tag = Some(tag);
                new
            }
            Kind::Anchor | Kind::Alias => {
                self.tag = tag;
                self.anchor(old)
            }
            Kind::Directive => {
                self.directive(old);
                None
            }
            Kind::Mark => {
                if !std::mem::take(&mut self.has_directives) {
                    self.handles.clear();
                }
                None
            }
            Kind::Text => without_escaped_slash(old),
            Kind::Indicator => None,
        }
    }

    fn plain(&self, word: &str, tag: Option<tags::Kind>) -> Option<String> {
        match tag {
            // A text over lines is text, whatever its lines look like.
            _ if word.contains(is_break) => None,
            None if word == "<<" => Some(tags::MERGE_KEY.into()),
            None => plain::respelled(word, self.words),
            Some(tags::Kind::Other) => None, // text for the YAML library, too
            Some(tags::Kind::Core(_) | tags::Kind::Application) => Some(plain::quoted(word)),
        }
    }

    /// Returns what a tag is, with its handle resolved.
    fn resolve(&self, tag: &str) -> tags::Kind {
        if let Some(whole) = tag.strip_prefix("!<") {
            return tags::kind(whole.strip_suffix('>').unwrap_or(whole));
        }
        let handle = match tag[1..].find('!') {
            Some(at) => &tag[..at + 2],
            None => "!",
        };
        let prefix = match (self.handles.get(handle), handle) {
            (Some(prefix), _) => prefix,
            (None, "!!") => tags::PREFIX,
            (None, handle) => handle,
        };
        tags::kind(&format!("{prefix}{}", &tag[handle.len()..]))
    }

    fn directive(&mut self, line: &str) {
        if !std::mem::replace(&mut self.has_directives, true) {
            self.handles.clear();
        }
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        if let (Some("%TAG"), Some(handle), Some(prefix)) = (words.next(), words.next(), words.next()) {
            self.handles.insert(handle.to_string(), prefix.to_string());
        }
    }

    /// `&name` or `*name`, with a name of its own for an anchor that was set before.
    fn anchor(&mut self, text: &str) -> Option<String> {
        let name = &text[1..];
        let times = if text.starts_with('&') {
            let times = self.anchors.entry(name.to_string()).or_default();
            *times += 1;
            *times
        } else {
            self.anchors.get(name).copied().unwrap_or(0)
        };
        (times > 1).then(|| format!("{text}-set-again-{times}"))
    }
}

/// Returns a text in double quotes whose `\/` is another escape, if it has one. The library here
/// reads `\/`, Go does not: an escape that neither of them has makes the library refuse the text in
/// the line in which Go refuses it, and in the same words.
fn without_escaped_slash(text: &str) -> Option<String> {
    /// Neither library has the escape `\q`.
    const UNKNOWN: char = 'q';
    let inner = text.strip_prefix('"').filter(|inner| inner.contains("\\/"))?;
    let mut out = String::from('"');
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.push(c);
        if c == '\\' {
            out.extend(chars.next().map(|escaped| if escaped == '/' { UNKNOWN } else { escaped }));
        }
    }
    Some(out)
}

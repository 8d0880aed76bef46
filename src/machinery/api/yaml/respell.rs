//! A text of YAML 1.1 in words of 1.2: the tokens are found first, then plain words are resolved.

use super::scalar::is_break;
use super::scan::{self, Kind};
use super::{plain, tags};
use std::collections::BTreeMap;

/// May stand before a text, and is no part of its first word.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Returns the text with its plain words in the spelling of YAML 1.2, and how many brackets are
/// open at most. With more than `most` open ones, the rest of the text is as it was. `flags`: words
/// like `yes` are booleans.
pub(super) fn respell(text: &str, flags: bool, most: usize) -> (String, usize) {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let (tokens, deepest) = scan::scan(text, most);
    let mut respeller = Respeller { flags, ..Respeller::default() };
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for token in tokens {
        let old = &text[token.start..token.end];
        if let Some(new) = respeller.token(token.kind, old, token.is_key) {
            out.push_str(&text[done..token.start]);
            out.push_str(&new);
            done = token.end;
        }
    }
    out.push_str(&text[done..]);
    (out, deepest)
}

#[derive(Default)]
struct Respeller {
    flags: bool,
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
    /// Returns the other spelling of a token, if it needs one.
    fn token(&mut self, kind: Kind, old: &str, is_key: bool) -> Option<String> {
        // A tag before a key belongs to the map.
        let tag = self.tag.take().filter(|_| !is_key);
        match kind {
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
            Kind::Text | Kind::Indicator => None,
        }
    }

    fn plain(&self, word: &str, tag: Option<tags::Kind>) -> Option<String> {
        match tag {
            // A text over lines is text, whatever its lines look like.
            _ if word.contains(is_break) => None,
            None => plain::respelled(word, self.flags),
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

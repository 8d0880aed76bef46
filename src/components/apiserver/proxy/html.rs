//! HTML pages of a proxied server, whose links are rewritten ([`Links`]).
//!
//! A page is rewritten as it comes: only a tag that is not complete waits, up to [`TAG_MAX`]. The
//! values of attributes are decoded before their links are judged ([`references`]).

use super::links::Links;
use super::references;
use crate::request::http::{Body, BodyError};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Bytes of a tag; a longer one passes as it is.
const TAG_MAX: usize = 8 << 10;
/// Bytes of a page that are rewritten at a time. A link of a few bytes becomes one of hundreds, and
/// what is rewritten waits until the client reads it.
const PIECE: usize = 4 << 10;

/// The attributes of HTML that are links, by tag.
const ATTRIBUTES: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];
/// Elements whose content is text, whatever looks like a tag in it.
const RAW: [&str; 9] =
    ["iframe", "noembed", "noframes", "plaintext", "script", "style", "textarea", "title", "xmp"];

/// What ends a comment.
const COMMENT_ENDS: [&[u8]; 2] = [b"-->", b"--!>"];

/// Which part of a page the next byte belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Within {
    Text,
    Comment,
    /// The content of one of [`RAW`].
    Raw(&'static str),
}

impl Within {
    /// Returns whether `text` begins with the end of this part; `None`: it is too short to say.
    fn ends_with(self, text: &[u8]) -> Option<bool> {
        let end = match self {
            // No tag ends it.
            Within::Text | Within::Raw("plaintext") => return Some(false),
            Within::Comment => return begins_with_one_of(text, &COMMENT_ENDS),
            Within::Raw(name) => format!("</{name}"),
        };
        match text.split_at_checked(end.len()) {
            Some((begin, [next, ..])) => {
                let is_whole_name = next.is_ascii_whitespace() || matches!(next, b'/' | b'>');
                Some(is_whole_name && begin.eq_ignore_ascii_case(end.as_bytes()))
            }
            _ => {
                let may_be_end = text.eq_ignore_ascii_case(&end.as_bytes()[..text.len()]);
                if may_be_end { None } else { Some(false) }
            }
        }
    }
}

/// Returns whether `text` begins with one of `words`; `None`: it is too short to say.
fn begins_with_one_of(text: &[u8], words: &[&[u8]]) -> Option<bool> {
    if words.iter().any(|word| text.starts_with(word)) {
        return Some(true);
    }
    if words.iter().any(|word| word.starts_with(text)) { None } else { Some(false) }
}

/// An HTML page that is rewritten piece by piece.
struct Page {
    links: Links,
    within: Within,
    /// The beginning of a tag, or of the end of a comment, that is not complete.
    held: Vec<u8>,
    /// Where in a start tag `held` ends, if it is one. A server may send a tag byte by byte: it is
    /// not read again for each of them.
    tag: Option<InTag>,
}

impl Page {
    fn new(links: Links) -> Page {
        Page { links, within: Within::Text, held: vec![], tag: None }
    }

    /// Holds a piece of a start tag back, if it does not end the tag. Returns whether it was held.
    fn hold(&mut self, piece: &[u8]) -> bool {
        let place = self.tag.take().and_then(|place| place.behind(piece));
        let is_held = place.is_some() && self.held.len() + piece.len() <= TAG_MAX;
        if is_held {
            self.held.extend_from_slice(piece);
            self.tag = place;
        }
        is_held
    }

    /// Takes the next piece of the page, and returns what is complete by it, rewritten.
    fn feed(&mut self, piece: &[u8]) -> Vec<u8> {
        if self.hold(piece) {
            return vec![];
        }
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(piece);
        let (mut out, mut at) = (Vec::with_capacity(all.len()), 0);
        while at < all.len() {
            let rest = &all[at..];
            let passed = match self.within {
                Within::Text => self.pass_text(rest, &mut out),
                Within::Comment | Within::Raw(_) => self.pass_to_end(rest, &mut out),
            };
            match passed {
                0 if rest.len() <= TAG_MAX => break,
                0 => {
                    out.extend_from_slice(rest); // no tag is so long
                    at = all.len();
                }
                passed => at += passed,
            }
        }
        self.held = all.split_off(at);
        if let (Within::Text, [b'<', first, rest @ ..]) = (self.within, self.held.as_slice())
            && first.is_ascii_alphabetic()
        {
            self.tag = InTag::Name.behind(rest);
        }
        out
    }

    /// Passes a comment or raw text up to its end, and returns how much that is. What may be the
    /// beginning of the end waits.
    fn pass_to_end(&mut self, rest: &[u8], out: &mut Vec<u8>) -> usize {
        let within = self.within;
        let mut candidates = (0..rest.len()).filter(|at| matches!(rest[*at], b'<' | b'-'));
        let found = candidates.find(|at| within.ends_with(&rest[*at..]) != Some(false));
        let passed = found.unwrap_or(rest.len());
        out.extend_from_slice(&rest[..passed]);
        if found.is_none() || within.ends_with(&rest[passed..]).is_none() {
            return passed;
        }
        self.within = Within::Text;
        // The end is read again as text: one byte of it is enough to go on.
        out.push(rest[passed]);
        passed + 1
    }

    /// Passes text, or one tag, and returns how much that is; 0: the tag is not complete.
    fn pass_text(&mut self, rest: &[u8], out: &mut Vec<u8>) -> usize {
        const COMMENT: &[u8] = b"<!--";
        /// Comments that end where they begin.
        const EMPTY: [&[u8]; 2] = [b"<!-->", b"<!--->"];
        let text = rest.iter().position(|b| *b == b'<').unwrap_or(rest.len());
        if text > 0 {
            out.extend_from_slice(&rest[..text]);
            return text;
        }
        if let Some(empty) = EMPTY.iter().find(|empty| rest.starts_with(empty)) {
            out.extend_from_slice(empty);
            return empty.len();
        }
        if EMPTY.iter().any(|empty| empty.starts_with(rest)) {
            return 0;
        }
        if rest.starts_with(COMMENT) {
            self.within = Within::Comment;
            out.extend_from_slice(COMMENT);
            return COMMENT.len();
        }
        if !rest[1].is_ascii_alphabetic() {
            out.push(b'<'); // of an end tag, for example: nothing in it is a link
            return 1;
        }
        let Some(tag) = Tag::read(rest) else { return 0 };
        let name = String::from_utf8_lossy(tag.name).to_ascii_lowercase();
        let wanted = ATTRIBUTES.iter().find(|(tag, _)| *tag == name).map_or(&[][..], |(_, all)| all);
        let (mut wanted, mut written) = (wanted.to_vec(), 0);
        for (attribute, begin, end) in tag.attributes {
            let is_it = |name: &&str| name.as_bytes().eq_ignore_ascii_case(attribute);
            let Some(found) = wanted.iter().position(is_it) else { continue };
            wanted.swap_remove(found); // browsers pass over one that is there again
            let link = std::str::from_utf8(&rest[begin..end]).ok().map(references::decode);
            if let Some(link) = link.and_then(|link| self.links.rewritten(&link)) {
                out.extend_from_slice(&rest[written..begin]);
                out.extend_from_slice(references::encode(&link).as_bytes());
                written = end;
            }
        }
        out.extend_from_slice(&rest[written..tag.length]);
        if let Some(raw) = RAW.iter().find(|raw| **raw == name) {
            self.within = Within::Raw(raw);
        }
        tag.length
    }
}

/// Where in a start tag the next byte is, as [`Tag::read`] reads it.
#[derive(Clone, Copy)]
enum InTag {
    Name,
    Between,
    Attribute,
    BehindAttribute,
    BeforeValue,
    Value,
    /// A value with this quote around it.
    Quoted(u8),
}

impl InTag {
    /// Returns where the tag goes on behind these bytes; `None`: it ends among them.
    fn behind(self, bytes: &[u8]) -> Option<InTag> {
        bytes.iter().try_fold(self, |place, byte| place.behind_byte(*byte))
    }

    fn behind_byte(self, byte: u8) -> Option<InTag> {
        let is_space = byte.is_ascii_whitespace();
        Some(match (self, byte) {
            (InTag::Quoted(quote), _) => {
                if byte == quote {
                    InTag::Between
                } else {
                    self
                }
            }
            (_, b'>') => return None,
            (InTag::BeforeValue, b'"' | b'\'') => InTag::Quoted(byte),
            (InTag::BeforeValue, _) if is_space => InTag::BeforeValue,
            (InTag::BeforeValue, _) => InTag::Value,
            (InTag::Value, _) => {
                if is_space {
                    InTag::Between
                } else {
                    InTag::Value
                }
            }
            (_, b'/') => InTag::Between,
            (InTag::Attribute | InTag::BehindAttribute, b'=') => InTag::BeforeValue,
            (InTag::Attribute | InTag::BehindAttribute, _) if is_space => InTag::BehindAttribute,
            (InTag::Name | InTag::Between, _) if is_space => InTag::Between,
            (InTag::Name, _) => InTag::Name,
            _ => InTag::Attribute,
        })
    }
}

/// A start tag.
struct Tag<'a> {
    name: &'a [u8],
    /// Names, and where their values begin and end.
    attributes: Vec<(&'a [u8], usize, usize)>,
    /// From `<` to `>`.
    length: usize,
}

impl<'a> Tag<'a> {
    /// Reads a tag that begins with `<` and a letter. `None`: it is not complete.
    fn read(text: &'a [u8]) -> Option<Tag<'a>> {
        let skip = |from: usize, is_skipped: &dyn Fn(u8) -> bool| {
            let next = text.iter().skip(from).position(|b| !is_skipped(*b))?;
            Some(from + next)
        };
        let is_space = |b: u8| b.is_ascii_whitespace();
        let begin_of_attributes = skip(1, &|b| !is_space(b) && b != b'/' && b != b'>')?;
        let name = &text[1..begin_of_attributes];
        let (mut attributes, mut at) = (vec![], begin_of_attributes);
        loop {
            at = skip(at, &|b| is_space(b) || b == b'/')?;
            if text[at] == b'>' {
                return Some(Tag { name, attributes, length: at + 1 });
            }
            // As browsers read it, a `=` at the beginning belongs to the name.
            let end = skip(at + 1, &|b| !is_space(b) && !b"/=>".contains(&b))?;
            let attribute = &text[at..end];
            at = skip(end, &is_space)?;
            if text[at] != b'=' {
                continue;
            }
            at = skip(at + 1, &is_space)?;
            let (begin, end) = match text[at] {
                quote @ (b'"' | b'\'') => (at + 1, skip(at + 1, &|b| b != quote)?),
                _ => (at, skip(at, &|b| !is_space(b) && b != b'>')?),
            };
            attributes.push((attribute, begin, end));
            at = if begin > at { end + 1 } else { end };
        }
    }
}

/// A page on its way to the client.
struct Rewriting {
    body: Body,
    page: Page,
    /// What has come and is not rewritten yet.
    unread: Bytes,
    has_ended: bool,
}

/// Returns the body of an HTML page with its links rewritten.
pub(super) fn rewrite(body: Body, links: Links) -> Body {
    let page = Page::new(links);
    Rewriting { body, page, unread: Bytes::new(), has_ended: false }.boxed_unsync()
}

impl http_body::Body for Rewriting {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        while !this.has_ended {
            if this.unread.is_empty() {
                match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    // Trailers stay behind: they may be of the page as it was.
                    Some(Ok(frame)) => this.unread = frame.into_data().unwrap_or_default(),
                    None => this.has_ended = true,
                }
            }
            let piece = this.unread.split_to(PIECE.min(this.unread.len()));
            let out = match this.has_ended {
                true => std::mem::take(&mut this.page.held),
                false => this.page.feed(&piece),
            };
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out.into()))));
            }
        }
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a page in pieces of `size` bytes.
    fn page(text: &str, size: usize) -> String {
        let mut page = Page::new(Links::of_a_pod());
        let mut out: Vec<u8> = text.as_bytes().chunks(size).flat_map(|piece| page.feed(piece)).collect();
        out.append(&mut page.held);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn attributes_of_a_page_are_rewritten_and_nothing_else() {
        let text = concat!(
            "<!DOCTYPE html><HTML><head><title><a href='/t'></title><link rel=x href=/css>",
            "<script src=\"/js\">if (a < b) s = '<a href=\"/s\">'</script>",
            "<!-- <a href=\"/c\"> -- > --><a data-x='>' HREF = '/one' href=two>a < b</a>",
            "<img alt=\"<a href='/n'>\" src=/i.png/><p href=\"/no\">/text</p>",
            "<a href>x</a><a href=\"mailto:a\">y</a><br/><a href=\"/last\""
        );
        let wanted = text
            .replace("/css>", "PREFIX/css>")
            .replace("\"/js\"", "\"PREFIX/js\"")
            .replace("'/one'", "'PREFIX/one'")
            .replace("/i.png/>", "PREFIX/i.png/>")
            .replace("PREFIX", &Links::of_a_pod().prefix);
        for size in 1..text.len() + 1 {
            assert_eq!(page(text, size), wanted, "in pieces of {size}");
        }
        let all = format!("{}>", page(text, 7));
        assert!(page(&all, 7).contains(&format!("href=\"{}/last\">", Links::of_a_pod().prefix)));
    }

    /// As the tokenizers of browsers and of `golang.org/x/net/html`.
    #[test]
    fn comments_and_raw_text_end_where_browsers_end_them() {
        for text in [
            "<!--><a href=/one>",
            "<!---><a href=/one>",
            "<!----><a href=/one>",
            "<!-- <a href=/c> --!><a href=/one>",
            "<!--!><a href=/c>--><a href=/one>",
            "<script>'</scripts><a href=/c>'</SCRIPT\n><a href=/one>",
            "<plaintext></plaintext><a href=/c>",
        ] {
            let wanted = text.replace("/one", &format!("{}/one", Links::of_a_pod().prefix));
            for size in 1..text.len() + 1 {
                assert_eq!(page(text, size), wanted, "in pieces of {size}");
            }
        }
    }

    /// As upstream, which judges `html.Token`s.
    #[test]
    fn links_are_judged_with_their_references_decoded() {
        let prefix = Links::of_a_pod().prefix;
        for (value, wanted) in [
            ("&#47;a", format!("{prefix}/a")),
            ("&sol;a?b&amp;c=&eacute;", format!("{prefix}/a?b&amp;c=&eacute;")),
            ("&Tab;/&#x2e;./a", format!("{prefix}/a")),
            ("http&colon;//10.244.1.2/a&#32;b", format!("{prefix}/a&#32;b")),
            ("&bsol;&#92;example.com", "//example.com".into()),
            ("a&sol;b&amp;c", "a&sol;b&amp;c".into()),
        ] {
            for quote in ["\"", "'", ""] {
                let tag = |value: &str| format!("<a href={quote}{value}{quote} id=x>");
                assert_eq!(page(&tag(value), 100), tag(&wanted));
            }
        }
    }

    #[test]
    fn a_tag_without_an_end_passes_as_it_is() {
        let long = format!("<a x=\"{}\" href=\"/a\"><a href=/b>", "x".repeat(2 * TAG_MAX));
        let out = page(&long, 1000);
        assert!(
            out.ends_with(&format!("<a href={}/b>", Links::of_a_pod().prefix)),
            "{}",
            &out[out.len() - 100..]
        );
        assert_eq!(page(&"<a ".repeat(TAG_MAX), 100), "<a ".repeat(TAG_MAX));
    }

    /// A server that sends a tag byte by byte would make this one read it as often.
    #[test]
    fn a_tag_is_read_once_when_its_end_has_come() {
        for tag in ["<a =b= c d ='>' / e = \"x'>\"f=/g'> h", "<a/b h= >", "<br/>", "<a\t=>", "<a b= '/'c >"] {
            for end in 2..=tag.len() {
                let is_complete = Tag::read(&tag.as_bytes()[..end]).is_some();
                let place = InTag::Name.behind(&tag.as_bytes()[2..end]);
                assert_eq!(is_complete, place.is_none(), "{}", &tag[..end]);
            }
        }
        let mut page = Page::new(Links::of_a_pod());
        assert!(page.feed(b"<a x=\"").is_empty() && page.hold(b">") && page.hold(b"\" href=/a"));
        assert_eq!(page.held, b"<a x=\">\" href=/a");
        assert!(!page.hold(b">"));
    }

    #[test]
    fn an_attribute_that_is_there_again_stays() {
        let wanted = format!("<a HREF={0}/a href=/b><img src={0}/c usemap={0}/d>", Links::of_a_pod().prefix);
        assert_eq!(page("<a HREF=/a href=/b><img src=/c usemap=/d>", 100), wanted);
    }

    #[tokio::test]
    async fn a_page_of_nothing_but_links_grows_by_little_at_a_time() {
        let (link, count) = ("<a href=/>", 8 << 10);
        let came = Bytes::from(link.repeat(count));
        let mut body = rewrite(crate::request::http::pieces([came]), Links::of_a_pod());
        let (mut longest, mut all) = (0, 0);
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            longest = longest.max(piece.len());
            all += piece.len();
        }
        let grown = link.len() + Links::of_a_pod().prefix.len();
        assert_eq!(all, count * grown);
        assert!(longest <= (PIECE / link.len() + 1) * grown, "{longest} bytes at a time");
    }

    #[tokio::test]
    async fn a_body_is_rewritten_as_it_comes() {
        let pieces = ["<p>one<a hr", "ef='/a'>", "<!-"].map(|piece| Bytes::from(piece.as_bytes()));
        let body = rewrite(crate::request::http::pieces(pieces), Links::of_a_pod());
        let all = body.collect().await.unwrap().to_bytes();
        assert_eq!(all, format!("<p>one<a href='{}/a'><!-", Links::of_a_pod().prefix));
    }
}

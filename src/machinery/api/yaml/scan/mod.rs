//! Tokens of a YAML text, by the rules of Go's scanner (`scannerc.go`): where a plain text ends,
//! which words are keys, how far block text goes. It and the library here both come from libyaml's
//! `scanner.c`; where they differ, a token says so.
//!
//! It reports no errors. Where libyaml would refuse the text, this scanner goes on with the next
//! character; the library refuses the document when it comes to the same place.

/// True for the line breaks of YAML 1.1, of which 1.2 has the first two.
pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// May stand at the start of each line.
pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text without quotes. It may go over lines.
    Plain,
    /// Text in quotes, or block text.
    Text,
    Anchor,
    Alias,
    Tag,
    /// A line that begins with `%`.
    Directive,
    /// `---` or `...`.
    Mark,
    /// A bracket, a brace, a comma, `-`, `?` or `:`.
    Indicator,
}

/// A token and its place in the text, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
    /// A key begins with this token. The tag or the anchor before it is the map's then.
    pub is_key: bool,
    /// In brackets, only Go ends the text here: before a `?`, or with a last `:` (`[a?b]`, `[a:]`).
    /// The library here reads on over a `?`, and refuses a `:` before `,?[]{}`: it needs quotes.
    pub needs_quotes: bool,
}

/// How much of a text is scanned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    /// Brackets that may be open.
    pub depth: usize,
    /// Nodes that there may be, as [`Scanned::nodes`] counts them.
    pub nodes: usize,
}

/// The tokens of a text.
pub(super) struct Scanned {
    pub tokens: Vec<Token>,
    /// How many brackets are open at most.
    pub deepest: usize,
    /// How many nodes there are at most, written or not: what the YAML library keeps in memory
    /// grows with them. Every token counts one, what ends or separates (`,`, `]`, `}`) as well,
    /// because a node may be missing before it. `-`, `?` and `:` count two: each may begin a list
    /// or map that has no bracket, and what stands behind it may be missing.
    ///
    /// ```text
    /// [a, !, &b ]    7 tokens
    /// {a,b}          5 tokens, each key without a value
    /// - k: v         - 2, k 1, : 2, v 1: a list, a map, a key and a value
    /// - - -          6: three lists and an empty item
    /// ```
    pub nodes: usize,
}

/// Returns the tokens of a text. It stops as soon as there is more than `most` allows, before more
/// tokens are kept.
pub(super) fn scan(text: &str, most: Most) -> Scanned {
    // One says how the text is encoded; another one may begin the first line.
    let at = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
    let (index, line, column) = (0, 0, 0);
    let (tokens, indents, keys) = (vec![], vec![], vec![None]);
    let mut scanner =
        Scanner { text, at, index, line, column, tokens, indent: -1, indents, keys, may_be_key: true };
    let (mut deepest, mut nodes, mut counted) = (0, 0, 0);
    while deepest <= most.depth && nodes <= most.nodes && scanner.read_token() {
        deepest = deepest.max(scanner.depth());
        nodes += scanner.tokens[counted..].iter().map(|token| token.nodes(text)).sum::<usize>();
        counted = scanner.tokens.len();
    }
    Scanned { tokens: scanner.tokens, deepest, nodes }
}

impl Token {
    /// Returns how many nodes the token may stand for, as [`Scanned::nodes`] counts them.
    fn nodes(&self, text: &str) -> usize {
        let is_wide = self.kind == Kind::Indicator && matches!(&text[self.start..self.end], "-" | "?" | ":");
        if is_wide { 2 } else { 1 }
    }
}

/// Characters that a key may have at most, if no `?` stands before it.
const KEY_MAX: usize = 1024;

/// The place where a key may have begun. Only a `:` says whether it did: the key of `[a]: b` begins
/// with the bracket, that of `[a: b]` with `a`.
#[derive(Clone, Copy)]
struct Key {
    /// The place in [`Scanner::tokens`].
    token: usize,
    index: usize,
    line: usize,
    column: isize,
}

struct Scanner<'a> {
    text: &'a str,
    /// The place in bytes, and in characters.
    at: usize,
    index: usize,
    line: usize,
    column: isize,
    tokens: Vec<Token>,
    /// Column of the innermost list or map in block style, -1 at the root.
    indent: isize,
    /// Columns of those around it.
    indents: Vec<isize>,
    /// Where a key may have begun: outside of brackets, and in each open one.
    keys: Vec<Option<Key>>,
    /// A key may begin here.
    may_be_key: bool,
}

impl Scanner<'_> {
    /// Brackets and braces that are open.
    fn depth(&self) -> usize {
        self.keys.len() - 1
    }

    fn is_flow(&self) -> bool {
        self.depth() > 0
    }

    /// Returns the byte so many bytes further on; 0 at the end, where NUL ends the text for
    /// libyaml, too.
    fn byte(&self, further: usize) -> u8 {
        self.text.as_bytes().get(self.at + further).copied().unwrap_or(0)
    }

    /// Bytes of the line break there, 0 if there is none. YAML 1.1 has three that YAML 1.2 has not.
    fn break_length(&self, further: usize) -> usize {
        match (self.byte(further), self.byte(further + 1), self.byte(further + 2)) {
            (b'\r', b'\n', _) | (0xc2, 0x85, _) => 2,
            (b'\r' | b'\n', ..) => 1,
            (0xe2, 0x80, 0xa8 | 0xa9) => 3,
            _ => 0,
        }
    }

    fn is_break(&self) -> bool {
        self.break_length(0) > 0
    }

    fn is_blank(&self) -> bool {
        matches!(self.byte(0), b' ' | b'\t')
    }

    /// Returns whether there is a blank, a line break or the end of the text.
    fn is_space(&self, further: usize) -> bool {
        matches!(self.byte(further), b' ' | b'\t' | 0) || self.break_length(further) > 0
    }

    fn is_mark(&self) -> bool {
        let rest = &self.text.as_bytes()[self.at..];
        self.column == 0 && (rest.starts_with(b"---") || rest.starts_with(b"...")) && self.is_space(3)
    }

    /// Goes on by one character, or by a whole line break.
    fn skip(&mut self) {
        let length = self.break_length(0);
        if length > 0 {
            self.index += if self.byte(0) == b'\r' { length } else { 1 };
            (self.at, self.line, self.column) = (self.at + length, self.line + 1, 0);
        } else if let Some(c) = self.text[self.at..].chars().next() {
            (self.at, self.index, self.column) = (self.at + c.len_utf8(), self.index + 1, self.column + 1);
        }
    }

    fn skip_while(&mut self, goes_on: impl Fn(&Self) -> bool) {
        while self.byte(0) != 0 && goes_on(self) {
            self.skip();
        }
    }

    fn skip_line(&mut self) {
        self.skip_while(|here| !here.is_break());
    }

    /// Reads one token. Returns whether there was one, or a character that is none.
    fn read_token(&mut self) -> bool {
        self.skip_to_token();
        self.leave_blocks(self.column);
        if self.byte(0) == 0 {
            return false;
        }
        let start = self.at;
        if self.column == 0 && self.byte(0) == b'%' {
            self.between_documents();
            self.skip_line();
            self.push(Kind::Directive, start);
        } else if self.is_mark() {
            self.between_documents();
            (0..3).for_each(|_| self.skip());
            self.push(Kind::Mark, start);
        } else if !self.indicator() {
            self.node();
        }
        if self.at == start {
            self.skip();
        }
        true
    }

    fn skip_to_token(&mut self) {
        loop {
            if self.column == 0 && self.text[self.at..].starts_with(BYTE_ORDER_MARK) {
                self.skip(); // no text begins with it: what follows are tokens
            }
            // Where a key may begin, a tab is no indentation.
            self.skip_while(|here| {
                here.byte(0) == b' ' || (here.byte(0) == b'\t' && (here.is_flow() || !here.may_be_key))
            });
            if self.byte(0) == b'#' {
                self.skip_line();
            }
            if !self.is_break() {
                return;
            }
            self.skip();
            self.may_be_key |= !self.is_flow();
        }
    }

    /// Ends lists and maps in block style: each ends where a line is indented less than it.
    fn leave_blocks(&mut self, column: isize) {
        while !self.is_flow() && self.indent > column {
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    /// Begins a list or map in block style, unless it is the one that is open.
    fn enter_block(&mut self, column: isize) {
        if !self.is_flow() && self.indent < column {
            self.indents.push(self.indent);
            self.indent = column;
        }
    }

    fn between_documents(&mut self) {
        self.leave_blocks(-1);
        self.set_key(None);
        self.may_be_key = false;
    }

    fn push(&mut self, kind: Kind, start: usize) {
        self.tokens.push(Token { kind, start, end: self.at, is_key: false, needs_quotes: false });
    }

    fn set_key(&mut self, key: Option<Key>) {
        if let Some(last) = self.keys.last_mut() {
            *last = key;
        }
    }

    /// Remembers that a key may begin with the next token.
    fn may_begin_key(&mut self) {
        if self.may_be_key {
            let (index, line, column) = (self.index, self.line, self.column);
            self.set_key(Some(Key { token: self.tokens.len(), index, line, column }));
        }
    }

    /// Reads an indicator. Returns whether there is one.
    fn indicator(&mut self) -> bool {
        let start = self.at;
        match self.byte(0) {
            b'[' | b'{' => {
                self.may_begin_key();
                self.keys.push(None);
                self.may_be_key = true;
            }
            b']' | b'}' => {
                self.set_key(None);
                if self.is_flow() {
                    self.keys.pop();
                }
                self.may_be_key = false;
            }
            b',' => {
                self.set_key(None);
                self.may_be_key = true;
            }
            b'-' if self.is_space(1) => {
                self.enter_block(self.column);
                self.set_key(None);
                self.may_be_key = true;
            }
            b'?' if self.is_flow() || self.is_space(1) => {
                self.enter_block(self.column);
                self.set_key(None);
                self.may_be_key = !self.is_flow();
            }
            b':' if self.is_flow() || self.is_space(1) => self.value(),
            _ => return false,
        }
        self.skip();
        self.push(Kind::Indicator, start);
        true
    }

    /// Reads a `:`, which makes a key of what began in its line, not too far before it.
    fn value(&mut self) {
        let key = self.keys.last().copied().flatten();
        let key = key.filter(|key| key.line == self.line && self.index - key.index <= KEY_MAX);
        self.set_key(None);
        match key {
            Some(key) => {
                if let Some(token) = self.tokens.get_mut(key.token) {
                    token.is_key = true;
                }
                self.enter_block(key.column);
                self.may_be_key = false;
            }
            None => {
                self.enter_block(self.column);
                self.may_be_key = !self.is_flow();
            }
        }
    }

    /// Reads text, or what may stand before a node.
    fn node(&mut self) {
        let start = self.at;
        let first = self.byte(0);
        if matches!(first, b'|' | b'>') && !self.is_flow() {
            self.set_key(None);
            self.may_be_key = true;
            self.block();
            return self.push(Kind::Text, start);
        }
        self.may_begin_key();
        self.may_be_key = false;
        let kind = match first {
            b'*' | b'&' => {
                self.skip();
                self.skip_while(|here| {
                    here.byte(0).is_ascii_alphanumeric() || matches!(here.byte(0), b'_' | b'-')
                });
                if first == b'*' { Kind::Alias } else { Kind::Anchor }
            }
            b'!' => {
                self.tag();
                Kind::Tag
            }
            b'\'' | b'"' => {
                self.quoted(first);
                Kind::Text
            }
            _ => {
                let end = self.plain();
                let ends_for_go = self.byte(0) == b'?' || self.text[start..end].ends_with(':');
                let needs_quotes = self.is_flow() && ends_for_go;
                self.tokens.push(Token { kind: Kind::Plain, start, end, is_key: false, needs_quotes });
                return;
            }
        };
        self.push(kind, start);
    }

    fn tag(&mut self) {
        let is_verbatim = self.byte(1) == b'<';
        self.skip_while(|here| match here.byte(0) {
            b'>' => !is_verbatim,
            b',' | b'[' | b']' | b'{' | b'}' => is_verbatim,
            _ => !here.is_space(0),
        });
        if is_verbatim && self.byte(0) == b'>' {
            self.skip();
        }
    }

    fn quoted(&mut self, quote: u8) {
        self.skip();
        loop {
            match self.byte(0) {
                0 => return,
                _ if self.is_mark() => return,
                b'\\' if quote == b'"' => self.skip(),
                b'\'' if quote == b'\'' && self.byte(1) == b'\'' => self.skip(),
                byte if byte == quote => return self.skip(),
                _ => {}
            }
            self.skip();
        }
    }

    /// Reads plain text and returns where it ends. It goes on in a line that is indented more than
    /// the list or map it stands in; in brackets in every line.
    fn plain(&mut self) -> usize {
        let mut end = self.at;
        let mut is_line_start = false;
        loop {
            if self.byte(0) == b'#' || self.is_mark() {
                break;
            }
            let before = self.at;
            self.skip_while(|here| !here.is_space(0) && !here.ends_plain());
            if self.at > before {
                (end, is_line_start) = (self.at, false);
            }
            if !self.is_blank() && !self.is_break() {
                break;
            }
            while self.is_blank() || self.is_break() {
                is_line_start |= self.is_break();
                self.skip();
            }
            if !self.is_flow() && self.column <= self.indent {
                break;
            }
        }
        self.may_be_key |= is_line_start;
        end
    }

    /// Returns whether plain text ends before this character. A `:` ends it in brackets, too, only
    /// before a blank: `[a:]` and `{a::b}` are text for Go.
    fn ends_plain(&self) -> bool {
        match self.byte(0) {
            b':' => self.is_space(1),
            b',' | b'?' | b'[' | b']' | b'{' | b'}' => self.is_flow(),
            _ => false,
        }
    }

    /// Reads block text: its header `|2-`, and the lines that are indented so far.
    fn block(&mut self) {
        self.skip();
        let mut indent = 0;
        for _ in 0..2 {
            match self.byte(0) {
                b'+' | b'-' => self.skip(),
                digit @ b'1'..=b'9' if indent == 0 => {
                    indent = self.indent.max(0) + isize::from(digit - b'0');
                    self.skip();
                }
                _ => {}
            }
        }
        self.skip_line();
        self.skip();
        self.block_indentation(&mut indent);
        while self.column == indent && self.byte(0) != 0 {
            self.skip_line();
            self.skip();
            self.block_indentation(&mut indent);
        }
    }

    /// Skips empty lines and indentation. Without an indicator (`indent` is 0) the first line that
    /// is not empty says how far all are indented.
    fn block_indentation(&mut self, indent: &mut isize) {
        let mut most = 0;
        loop {
            self.skip_while(|here| here.byte(0) == b' ' && (*indent == 0 || here.column < *indent));
            most = most.max(self.column);
            if !self.is_break() {
                break;
            }
            self.skip();
        }
        if *indent == 0 {
            *indent = most.max(self.indent + 1).max(1);
        }
    }
}

#[cfg(test)]
mod tests;

//! Markdown as lines of a terminal: wrapped by cells, not by characters, since a Korean syllable
//! takes two. What stands out has a style, so that the REPL can print it and the terminal
//! interface can paint it.

use super::breaks::{breaks, joins_unit, signs};
use lang::charset::is_harmful;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use std::borrow::Cow;
use unicode_width::UnicodeWidthStr;

/// How a piece of text stands out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Style {
    /// Strong text (`**`).
    pub bold: bool,
    /// Emphasis (`*`).
    pub italic: bool,
    /// Code, as typed.
    pub code: bool,
    /// A heading of any level.
    pub heading: bool,
    /// Beside the text: list marks, frames of code.
    pub dim: bool,
}

/// A piece of text in one style.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// No line breaks. From foreign text it may hold control characters: [`print`] leaves them out.
    pub text: String,
    /// Plain by default.
    pub style: Style,
}

/// One line of the terminal; empty for a blank line.
pub type Row = Vec<Span>;

/// The mark of an item in a list without numbers.
pub(crate) const BULLET: &str = "·";

/// Cells that a text takes.
pub(crate) fn cells(text: &str) -> usize {
    text.width()
}

/// Removes control characters, which a terminal takes for orders, and those that show a text in
/// another order: those of an object's name or message may come from any user.
pub fn harmless(text: &str) -> Cow<'_, str> {
    match text.contains(is_harmful) {
        true => Cow::Owned(text.replace(is_harmful, "")),
        false => Cow::Borrowed(text),
    }
}

/// Lays Markdown out in lines of at most `width` cells. Code blocks are not wrapped: the caller
/// cuts or wraps them where it shows them. No control character is in a line, not even one that the
/// text names (`&#27;`).
pub(crate) fn lay_out(markdown: &str, width: usize) -> Vec<Row> {
    laid(markdown, Page { width: width.max(10), ..Page::default() })
}

/// Lays Markdown out as [`lay_out`] does, and leaves the backticks around code in a sentence.
pub(crate) fn lay_out_with_ticks(markdown: &str, width: usize) -> Vec<Row> {
    laid(markdown, Page { width: width.max(10), has_ticks: true, ..Page::default() })
}

/// Markdown as lines of at most `width` cells behind the indent, with ANSI styles if `colour`. Code
/// in a sentence keeps its backticks: colour alone says nothing to a screen reader, a log or a
/// terminal without colours.
pub fn text(markdown: &str, width: usize, indent: &str, colour: bool) -> String {
    let room = width.saturating_sub(cells(indent)).max(10);
    print(&lay_out_with_ticks(markdown, room), indent, colour)
}

fn laid(markdown: &str, mut page: Page) -> Vec<Row> {
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
        page.take(event);
    }
    page.flush();
    while page.rows.last().is_some_and(Vec::is_empty) {
        page.rows.pop();
    }
    page.rows
}

/// Lines as text, each behind `indent` and with a line break at its end, without spaces before it.
/// `colour`: with ANSI styles. Control characters are left out.
pub fn print(rows: &[Row], indent: &str, colour: bool) -> String {
    let mut out = String::new();
    for row in rows {
        let mut line = String::from(indent);
        for span in row {
            match colour {
                true => line.push_str(&ansi(span)),
                false => line.push_str(&harmless(&span.text)),
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn ansi(span: &Span) -> String {
    let style = span.style;
    let codes: Vec<&str> =
        [(style.bold || style.heading, "1"), (style.italic, "3"), (style.code, "36"), (style.dim, "2")]
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, code)| *code)
            .collect();
    let text = harmless(&span.text);
    if codes.is_empty() { text.into_owned() } else { format!("\x1b[{}m{text}\x1b[0m", codes.join(";")) }
}

#[derive(Default)]
struct Page {
    width: usize,
    rows: Vec<Row>,
    /// The paragraph that is being collected.
    text: Vec<Span>,
    style: Style,
    /// Open lists: the next number, or none for bullets.
    lists: Vec<Option<u64>>,
    /// The mark of an item whose first line is still to come.
    mark: Option<String>,
    quote: usize,
    code: Option<String>,
    cell: bool,
    /// Code in a sentence keeps its backticks.
    has_ticks: bool,
    /// Emphasis has ended on a sign that is no letter: see [`particle`].
    closed: bool,
}

impl Page {
    fn take(&mut self, event: Event<'_>) {
        let closed = std::mem::take(&mut self.closed);
        match event {
            Event::Text(text) => match &mut self.code {
                Some(code) => code.push_str(&text),
                None => {
                    let joins = closed && particle(&text);
                    self.push(if joins { &text[1..] } else { &text }, self.style)
                }
            },
            Event::Code(text) => {
                let style = Style { code: true, ..self.style };
                match self.has_ticks {
                    true => self.push(&format!("`{text}`"), style),
                    false => self.push(&text, style),
                }
            }
            Event::SoftBreak => self.push(" ", self.style),
            Event::HardBreak => self.wrap(),
            Event::Rule => self.gap(),
            Event::Start(tag) => self.open(tag),
            Event::End(tag) => self.close(tag),
            Event::InlineHtml(text) | Event::Html(text) => self.push(&text, self.style),
            _ => {}
        }
    }

    fn open(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph if self.mark.is_none() => self.gap(),
            Tag::Heading { .. } => {
                self.gap();
                self.style.heading = true;
            }
            Tag::Strong => self.style.bold = true,
            Tag::Emphasis => self.style.italic = true,
            Tag::List(first) => {
                if self.lists.is_empty() {
                    self.gap();
                } else {
                    self.wrap();
                }
                self.lists.push(first);
            }
            Tag::Item => {
                self.wrap();
                self.mark = Some(match self.lists.last_mut() {
                    Some(Some(number)) => {
                        *number += 1;
                        format!("{}. ", *number - 1)
                    }
                    _ => format!("{BULLET} "),
                });
            }
            Tag::BlockQuote(_) => {
                self.gap();
                self.quote += 1;
            }
            Tag::CodeBlock(_) => {
                self.gap();
                self.code = Some(String::new());
            }
            Tag::Table(_) => self.gap(),
            Tag::TableCell => self.cell = true,
            _ => {}
        }
    }

    fn close(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph => self.wrap(),
            TagEnd::Heading(_) => {
                self.wrap();
                self.style.heading = false;
            }
            TagEnd::Strong | TagEnd::Emphasis => {
                match tag {
                    TagEnd::Strong => self.style.bold = false,
                    _ => self.style.italic = false,
                }
                let last = self.text.last().and_then(|s| s.text.chars().last());
                self.closed = last.is_some_and(|c| !c.is_alphanumeric());
            }
            TagEnd::List(_) => {
                self.wrap();
                self.lists.pop();
            }
            TagEnd::Item => {
                self.wrap();
                self.mark = None;
            }
            TagEnd::BlockQuote(_) => {
                self.wrap();
                self.quote = self.quote.saturating_sub(1);
            }
            TagEnd::CodeBlock => {
                let indent = self.indent();
                for line in self.code.take().unwrap_or_default().lines() {
                    let style = Style { code: true, ..Style::default() };
                    let text = format!("{indent}  {}", harmless(&line.replace('\t', "    ")));
                    self.rows.push(vec![Span { text, style }]);
                }
            }
            TagEnd::TableCell => self.push("   ", Style::default()),
            TagEnd::TableRow | TagEnd::TableHead => self.wrap(),
            _ => {}
        }
    }

    fn push(&mut self, text: &str, style: Style) {
        // A line's end inside of a piece is a space, as between two.
        let text = harmless(&text.replace(['\n', '\t'], " ")).into_owned();
        self.text.push(Span { text, style });
    }

    /// An empty line between blocks, but none at the beginning.
    fn gap(&mut self) {
        self.wrap();
        if self.rows.last().is_some_and(|r| !r.is_empty()) {
            self.rows.push(vec![]);
        }
    }

    fn indent(&self) -> String {
        "  ".repeat(self.lists.len().saturating_sub(1)) + &"│ ".repeat(self.quote)
    }

    fn flush(&mut self) {
        self.wrap();
    }

    fn wrap(&mut self) {
        let text = std::mem::take(&mut self.text);
        if text.is_empty() && self.mark.is_none() {
            return;
        }
        if text.iter().all(|s| s.text.trim().is_empty()) {
            return;
        }
        let indent = self.indent();
        let mark = self.mark.take();
        let hang = mark
            .as_ref()
            .map(|m| cells(m))
            .or(if self.lists.is_empty() { None } else { Some(2) })
            .unwrap_or(0);
        let room = self.width.saturating_sub(cells(&indent) + hang).max(8);
        for (at, mut row) in wrap(&text, room).into_iter().enumerate() {
            let lead = match (&mark, at) {
                (Some(mark), 0) => format!("{indent}{mark}"),
                _ => format!("{indent}{}", " ".repeat(hang)),
            };
            if !lead.is_empty() {
                row.insert(0, Span { text: lead, style: Style { dim: true, ..Style::default() } });
            }
            self.rows.push(row);
        }
    }
}

/// Returns whether a text begins with a Korean particle behind a space. In `**파드(Pod)** 는` Markdown
/// wants that space, or the emphasis would not end; Korean does not.
fn particle(text: &str) -> bool {
    const PARTICLES: &[&str] = &[
        "은",
        "는",
        "이",
        "가",
        "을",
        "를",
        "과",
        "와",
        "의",
        "에",
        "에는",
        "에서",
        "에서는",
        "에게",
        "로",
        "으로",
        "도",
        "만",
        "라고",
        "이라고",
        "이라는",
        "라는",
        "입니다",
        "이고",
        "이며",
    ];
    text.strip_prefix(' ')
        .and_then(|t| t.split([' ', '\n']).next())
        .is_some_and(|w| PARTICLES.contains(&w.trim_end_matches([',', '.'])))
}

/// Wraps styled text at spaces into lines of at most `width` cells; a word that is longer than a
/// line is cut between syllables.
pub fn wrap(text: &[Span], width: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = vec![vec![]];
    let mut used = 0;
    // A word may change its style in the middle, and still is one word.
    let mut word: Row = vec![];
    let mut gap = false;
    let mut place = |rows: &mut Vec<Row>, word: &mut Row, gap: bool| {
        let size: usize = word.iter().map(|s| cells(&s.text)).sum();
        if size == 0 {
            return;
        }
        if gap && used > 0 && used + 1 + size <= width {
            append(rows, " ", Style::default());
            used += 1;
        } else if used > 0 && (used + size > width || gap) {
            rows.push(vec![]);
            used = 0;
        }
        let signs: Vec<(&str, Style)> =
            word.iter().flat_map(|span| signs(&span.text).map(move |sign| (sign, span.style))).collect();
        let alone: Vec<&str> = signs.iter().map(|(sign, _)| *sign).collect();
        let breaks = breaks(&alone, used, 0, width);
        for (at, (sign, style)) in signs.into_iter().enumerate() {
            if breaks.contains(&at) {
                rows.push(vec![]);
                used = 0;
            }
            append(rows, sign, style);
            used += cells(sign);
        }
        word.clear();
    };
    for span in text {
        // Code is one piece, so that a command is not torn unless it has to be.
        let whole = span.style.code && cells(&span.text) <= width / 2;
        for (at, c) in span.text.char_indices() {
            let space = c.is_whitespace() && !whole;
            let rest = &span.text[at + c.len_utf8()..];
            let unit = space && word.last().is_some_and(|last| joins_unit(&last.text, rest));
            if space && !unit {
                place(&mut rows, &mut word, gap);
                gap = true;
                continue;
            }
            let c = if unit { ' ' } else { c };
            match word.last_mut() {
                Some(last) if last.style == span.style => last.text.push(c),
                _ => word.push(Span { text: c.to_string(), style: span.style }),
            }
        }
    }
    place(&mut rows, &mut word, gap);
    rows.retain(|r| !r.is_empty());
    rows
}

fn append(rows: &mut [Row], text: &str, style: Style) {
    let Some(row) = rows.last_mut() else { return };
    match row.last_mut() {
        Some(last) if last.style == style => last.text.push_str(text),
        _ => row.push(Span { text: text.into(), style }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaks::closes;

    fn plain(markdown: &str, width: usize) -> Vec<String> {
        print(&lay_out(markdown, width), "", false).lines().map(String::from).collect()
    }

    #[test]
    fn paragraphs_are_wrapped_at_spaces() {
        assert_eq!(plain("one two three four five", 11), ["one two", "three four", "five"]);
        assert_eq!(plain("a\nb\n\nc", 40), ["a b", "", "c"]);
        assert_eq!(plain("**파드(Pod)** 는 작고 **파드** 는 크다", 40), ["파드(Pod)는 작고 파드 는 크다"]);
        assert_eq!(
            plain("**노드(node)** 라고 합니다. **(a)** 다음", 60),
            ["노드(node)라고 합니다. (a) 다음"]
        );
        assert_eq!(plain("`kubectl`은 클라이언트다", 14), ["kubectl은", "클라이언트다"]);
        assert_eq!(plain("then 2.93 s later", 10), ["then", "2.93 s", "later"], "a number keeps its unit");
    }

    #[test]
    fn code_in_a_sentence_is_marked_without_colour() {
        let printed = text("Type `kubectl run 이름` now.\n\n```\nls\n```", 24, "  ", false);
        assert_eq!(printed, "  Type `kubectl run\n  이름` now.\n\n    ls\n");
        assert!(text("`hint`은 도움말", 40, "", true).starts_with("\x1b[36m`hint`\x1b[0m은"));
        for width in 10..40 {
            let printed = text("a `kubectl get pods -A` and `b` and `c` and `d` `e`", width, "", false);
            assert!(printed.lines().all(|line| cells(line) <= width), "{width}: {printed}");
        }
    }

    /// The last hint of a lab ends with a patch that is wider than a pane.
    #[test]
    fn no_line_begins_with_the_mark_that_closes_a_long_word() {
        let hint =
            "Type `kubectl patch svc web --type=json -p '[{\"op\":\"replace\",\"path\":\"/spec/ports/0\"}]'`";
        let long = "(https://registry.example.com/very/long/파드/이름).";
        let particle = "`registry.example.com/very/long/파드/이름`를 보세요";
        for (markdown, width) in
            [hint, long, particle].into_iter().flat_map(|s| (16..80).map(move |w| (s, w)))
        {
            let printed = text(markdown, width, "", false);
            for line in printed.lines() {
                assert!(cells(line) <= width, "{width}: {printed}");
                let first = signs(line).next().unwrap_or_default();
                // A backtick also opens: then a character follows that is no closing mark.
                let opens = first == "`" && line.len() > 1 && line[1..].starts_with(char::is_alphanumeric);
                let opens = opens && !line.starts_with("`를");
                assert!(opens || first == "'" || !closes(first), "{width}: {printed}");
                assert!(!line.chars().all(|c| closes(&c.to_string())), "{width}: {printed}");
            }
        }
    }

    #[test]
    fn korean_takes_two_cells_and_no_syllable_is_halved() {
        for width in 10..30 {
            for line in plain("쿠버네티스가 실행하는 가장 작은 단위입니다 아주긴단어가여기에있습니다", width)
            {
                assert!(cells(&line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn lists_and_code_keep_their_shape() {
        let rows =
            plain("Do:\n\n- one\n- two three four\n\n```sh\nkubectl get pods -A --and-more\n```\nend", 12);
        assert_eq!(
            rows,
            ["Do:", "", "· one", "· two three", "  four", "", "  kubectl get pods -A --and-more", "", "end"]
        );
        assert_eq!(plain("1. a\n2. b", 20), ["1. a", "2. b"]);
    }

    #[test]
    fn no_order_to_the_terminal_gets_through() {
        let text = "the pod said \x1b[2J`\x1b]0;x\x07` &#27;[31m \u{9b}1m\n\n```\n\x1b[1A\ta\n```\n- \x08b";
        let lines = plain(text, 60);
        assert!(!lines.concat().contains(char::is_control), "{lines:?}");
        assert_eq!(lines[0], "the pod said [2J]0;x [31m 1m");
        // These turn the words around, so that a line reads as another one.
        let turned = plain("`rm a` &#x202e;&#8294; b\u{2069}\u{61c}", 60).concat();
        assert!(turned.starts_with("rm a") && !turned.contains(lang::charset::reorders), "{turned:?}");
    }

    #[test]
    fn styles_are_told_apart() {
        let rows = lay_out("a **b** `c`", 40);
        let styles: Vec<(bool, bool)> = rows[0].iter().map(|s| (s.style.bold, s.style.code)).collect();
        assert!(styles.contains(&(true, false)) && styles.contains(&(false, true)));
        assert!(print(&rows, "", true).contains("\x1b[1mb\x1b[0m"));
    }
}

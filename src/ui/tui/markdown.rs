//! Markdown painted for the interface: laid out as in the REPL, dressed in the colours of the
//! frame.

use super::look::{Look, Sign, Tone};
use super::text::{Piece, cells, fold};
use crate::prose::{self, Row, lay_out, lay_out_with_ticks};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

/// Lines of at most `room` cells.
pub(crate) fn lines(text: &str, room: usize, look: Look) -> Vec<Line<'static>> {
    lay_out(&strip_anchors(text), room).into_iter().flat_map(|row| paint(row, room, look)).collect()
}

/// A row of code may be wider than its room: it is broken there, and its rest stands further in
/// than its beginning. The spaces before it stay: in a manifest they have a meaning.
fn paint(row: Row, room: usize, look: Look) -> Vec<Line<'static>> {
    if let [code] = &row[..]
        && cells(&code.text) > room
    {
        let indent = code.text.len() - code.text.trim_start().len();
        let rest = " ".repeat((indent + 2).min(room / 2));
        return self::code(&code.text, room, &rest, dress(code.style, Style::new(), look), look);
    }
    let span = |s: prose::Span| {
        let text = if look.ascii { s.text.replace(prose::BULLET, "-") } else { s.text };
        Span::styled(text, dress(s.style, Style::new(), look))
    };
    vec![Line::from(row.into_iter().map(span).collect::<Vec<_>>())]
}

/// A row of code in lines of at most `room` cells. `rest` stands before the further ones. A line
/// that goes on has a mark at its end, because to type it as two lines would be another command:
/// behind a space where the row has one there, without it inside a word.
///
/// Example, in 24 cells: `cat /registry/default/front-door -w json` becomes
///
/// ```text
/// cat …
///     /registry/default/…
///     front-door -w json
/// ```
pub(crate) fn code(text: &str, room: usize, rest: &str, style: Style, look: Look) -> Vec<Line<'static>> {
    if cells(text) <= room {
        return vec![Line::styled(text.to_string(), style)];
    }
    let mark = look.sign(Sign::Ellipsis);
    let rows = fold(text, room.saturating_sub(cells(mark) + 1), rest);
    let (last, mut left) = (rows.len() - 1, text);
    let mut out = Vec::new();
    for (at, row) in rows.into_iter().enumerate() {
        let own = if at == 0 { row.as_str() } else { row.strip_prefix(rest).unwrap_or(&row) };
        left = left.strip_prefix(own).unwrap_or_default();
        let gap = if left.starts_with(' ') { " " } else { "" };
        left = left.trim_start();
        let mut spans = vec![Span::styled(row, style)];
        if at < last {
            spans.push(Span::styled(format!("{gap}{mark}"), look.tone(Tone::Dim)));
        }
        out.push(Line::from(spans));
    }
    out
}

fn dress(style: prose::Style, under: Style, look: Look) -> Style {
    let mut out = under;
    if style.heading {
        out = out.patch(look.tone(Tone::Title));
    }
    if style.code {
        out = out.patch(look.tone(Tone::Code)).add_modifier(Modifier::BOLD);
    }
    for (on, modifier) in [(style.bold, Modifier::BOLD), (style.italic, Modifier::ITALIC)] {
        if on {
            out = out.add_modifier(modifier);
        }
    }
    out
}

/// One paragraph, for a place where it stands behind a sign: emphasis and code, no blocks.
pub(crate) fn inline(text: &str, style: Style, look: Look) -> Vec<Piece> {
    joined(lay_out(text, usize::from(u16::MAX)), style, look)
}

/// Lays out a paragraph as [`inline`] does, with backticks around code: a sentence that has the
/// colour of code must not run into its command.
pub(crate) fn inline_with_ticks(text: &str, style: Style, look: Look) -> Vec<Piece> {
    joined(lay_out_with_ticks(text, usize::from(u16::MAX)), style, look)
}

fn joined(rows: Vec<Row>, style: Style, look: Look) -> Vec<Piece> {
    let dressed = |row: Row| {
        let pieces = row.into_iter().map(|s| Piece::new(s.text, dress(s.style, style, look)));
        pieces.chain([Piece::new(" ", style)]).collect::<Vec<_>>()
    };
    rows.into_iter().filter(|row| !row.is_empty()).flat_map(dressed).collect()
}

/// `## Run it {#run}`: the anchor is for machines.
fn strip_anchors(text: &str) -> String {
    let keep = |line: &str| match (line.starts_with('#'), line.rfind(" {#")) {
        (true, Some(at)) if line.ends_with('}') => line[..at].to_string(),
        _ => line.to_string(),
    };
    text.lines().map(keep).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lessons_use_is_shown() {
        let text = "# Run a pod {#run}\n\nA **pod** is the `smallest` thing.\nIt runs.\n\n- one\n- two words\n\n1. first\n2. second\n\n```\nkubectl run web\n```\n";
        let shown: Vec<String> = lines(text, 20, Look::default()).iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "Run a pod",
                "",
                "A pod is the",
                "smallest thing. It",
                "runs.",
                "",
                "· one",
                "· two words",
                "",
                "1. first",
                "2. second",
                "",
                "  kubectl run web"
            ]
        );
    }

    #[test]
    fn a_wide_row_of_a_manifest_stays_where_it_stands() {
        let text = "```\nspec:\n      - name: shared\n        mountPath: /usr/share/nginx/html\n```";
        let shown: Vec<String> = lines(text, 36, Look::default()).iter().map(ToString::to_string).collect();
        let expected = [
            "  spec:",
            "        - name: shared",
            "          mountPath: …",
            "            /usr/share/nginx/html",
        ];
        assert_eq!(shown, expected);
        for room in 14..60 {
            let longest = lines(text, room, Look::default()).iter().map(Line::width).max();
            assert!(longest <= Some(room), "{longest:?} in {room}");
        }
    }

    /// Typed as it stands, a line that the pane has broken would be another command.
    #[test]
    fn a_broken_line_of_code_is_marked_inside_a_word_and_behind_a_space() {
        let shown = |text: &str, room, look| -> Vec<String> {
            lines(text, room, look).iter().map(ToString::to_string).collect()
        };
        let key = "```\nnode-role.kubernetes.io/control-plane: true\n```";
        assert_eq!(
            shown(key, 30, Look::default()),
            ["  node-role.kubernetes.io/co…", "    ntrol-plane: true"]
        );
        let command = "```\nkubectl create deployment web --replicas=2\n```";
        let ascii = Look { ascii: true, ..Look::default() };
        assert_eq!(shown(command, 34, ascii), ["  kubectl create deployment web ~", "    --replicas=2"]);
        let lines = lines(command, 34, Look::default());
        assert!(lines[0].spans[1].style.add_modifier.contains(Modifier::DIM), "{lines:?}");
        assert!(!lines[1].to_string().contains('…'));
    }
}

//! The small part of Markdown that lessons are written in, as lines of the terminal.

use super::look::{Look, Tone};
use super::text::{Piece, wrap};
use pulldown_cmark::{Event, Parser, Tag, TagEnd};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;

/// Headings, paragraphs, lists, emphasis, code. Anything else is shown as its text. Blocks stand an empty line apart.
pub fn lines(text: &str, room: usize, look: Look) -> Vec<Line<'static>> {
    let mut out: Vec<Line<'static>> = Vec::new();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut styles: Vec<Style> = vec![Style::new()];
    let mut lists: Vec<Option<u64>> = Vec::new();
    let mut marker: Option<String> = None;
    let mut code = false;
    let style = |styles: &[Style]| styles.last().copied().unwrap_or_default();
    let text = strip_anchors(text);
    for event in Parser::new(&text) {
        match event {
            Event::Start(Tag::Heading { .. }) => styles.push(look.tone(Tone::Title)),
            Event::Start(Tag::Strong) => styles.push(style(&styles).add_modifier(Modifier::BOLD)),
            Event::Start(Tag::Emphasis) => styles.push(style(&styles).add_modifier(Modifier::ITALIC)),
            Event::End(TagEnd::Strong | TagEnd::Emphasis) => {
                styles.pop();
            }
            Event::Start(Tag::List(start)) => {
                // A list inside an item: what was said so far stands before it.
                block(&mut out, &mut pieces, room, &lists, &mut marker, false);
                lists.push(start);
            }
            Event::End(TagEnd::List(_)) => {
                lists.pop();
                gap(&mut out, lists.is_empty());
            }
            Event::Start(Tag::Item) => {
                let sign = match lists.last_mut() {
                    Some(Some(n)) => {
                        *n += 1;
                        format!("{}. ", *n - 1)
                    }
                    _ => format!("{} ", if look.ascii { "-" } else { "•" }),
                };
                marker = Some(sign);
            }
            Event::End(TagEnd::Item) => block(&mut out, &mut pieces, room, &lists, &mut marker, false),
            Event::Start(Tag::CodeBlock(_)) => code = true,
            Event::End(TagEnd::CodeBlock) => {
                code = false;
                gap(&mut out, true);
            }
            Event::Text(text) if code => {
                for line in text.lines() {
                    out.extend(wrap(
                        &[Piece::new(line.replace(' ', "\u{a0}"), look.tone(Tone::Code))],
                        room,
                        "  ",
                        "    ",
                    ));
                }
            }
            Event::Text(text) => pieces.push(Piece::new(text.to_string(), style(&styles))),
            Event::Code(text) => {
                let code = style(&styles).patch(look.tone(Tone::Code)).add_modifier(Modifier::BOLD);
                pieces.push(Piece::new(text.to_string(), code));
            }
            Event::SoftBreak | Event::HardBreak => pieces.push(Piece::new(" ", style(&styles))),
            Event::Html(text) | Event::InlineHtml(text) => {
                pieces.push(Piece::new(text.to_string(), style(&styles)))
            }
            Event::End(TagEnd::Heading(_)) => {
                styles.pop();
                block(&mut out, &mut pieces, room, &lists, &mut marker, true);
            }
            Event::End(TagEnd::Paragraph) => {
                let apart = lists.is_empty();
                block(&mut out, &mut pieces, room, &lists, &mut marker, apart);
            }
            _ => {}
        }
    }
    block(&mut out, &mut pieces, room, &lists, &mut marker, false);
    while out.last().is_some_and(|l| l.width() == 0) {
        out.pop();
    }
    out
}

/// One paragraph, for a place where it stands behind a sign: emphasis and code, no blocks.
pub fn inline(text: &str, style: Style, look: Look) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut styles = vec![style];
    for event in Parser::new(text) {
        let here = styles.last().copied().unwrap_or_default();
        match event {
            Event::Start(Tag::Strong) => styles.push(here.add_modifier(Modifier::BOLD)),
            Event::Start(Tag::Emphasis) => styles.push(here.add_modifier(Modifier::ITALIC)),
            Event::End(TagEnd::Strong | TagEnd::Emphasis) => {
                styles.pop();
            }
            Event::Code(text) => {
                pieces.push(Piece::new(
                    text.to_string(),
                    here.patch(look.tone(Tone::Code)).add_modifier(Modifier::BOLD),
                ));
            }
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => {
                pieces.push(Piece::new(text.to_string(), here))
            }
            Event::SoftBreak | Event::HardBreak | Event::End(TagEnd::Paragraph) => {
                pieces.push(Piece::new(" ", here))
            }
            _ => {}
        }
    }
    pieces
}

/// `## Run it {#run}`: the anchor is for machines.
fn strip_anchors(text: &str) -> String {
    let keep = |line: &str| match (line.starts_with('#'), line.rfind(" {#")) {
        (true, Some(at)) if line.ends_with('}') => line[..at].to_string(),
        _ => line.to_string(),
    };
    text.lines().map(keep).collect::<Vec<_>>().join("\n")
}

fn block(
    out: &mut Vec<Line<'static>>,
    pieces: &mut Vec<Piece>,
    room: usize,
    lists: &[Option<u64>],
    marker: &mut Option<String>,
    apart: bool,
) {
    if pieces.is_empty() {
        return;
    }
    let indent = "  ".repeat(lists.len().saturating_sub(1));
    let first = format!("{indent}{}", marker.take().unwrap_or_default());
    let rest = " ".repeat(first.chars().count());
    out.extend(wrap(pieces, room, &first, &rest));
    pieces.clear();
    gap(out, apart);
}

fn gap(out: &mut Vec<Line<'static>>, wanted: bool) {
    if wanted && out.last().is_some_and(|l| l.width() > 0) {
        out.push(Line::default());
    }
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
                "• one",
                "• two words",
                "",
                "1. first",
                "2. second",
                "",
                "  kubectl\u{a0}run\u{a0}web"
            ]
        );
    }
}

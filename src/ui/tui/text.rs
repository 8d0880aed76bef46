//! Text measured in terminal cells: Hangul takes two, and is never cut in half.

use crate::breaks::{breaks, joins_unit};
use clock::Timestamp;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Returns the cells that a text takes.
pub(crate) fn cells(text: &str) -> usize {
    text.width()
}

/// Returns the longest beginning of a text that fits, with `…` (or `~`) at its end if something was
/// left out.
pub(crate) fn cut(text: &str, room: usize, ellipsis: &str) -> String {
    if cells(text) <= room {
        return text.to_string();
    }
    let room_left = room.saturating_sub(cells(ellipsis));
    let mut out = String::new();
    let mut used = 0;
    for part in text.graphemes(true) {
        if used + cells(part) > room_left {
            break;
        }
        used += cells(part);
        out.push_str(part);
    }
    if room >= cells(ellipsis) {
        out.push_str(ellipsis);
    }
    out
}

/// Cuts a text as [`cut`] does, but in its middle: generated names differ at their ends.
pub(crate) fn cut_middle(text: &str, room: usize, ellipsis: &str) -> String {
    if cells(text) <= room || room < 8 {
        return cut(text, room, ellipsis);
    }
    let tail: String = text
        .graphemes(true)
        .rev()
        .take(if room < 11 { 3 } else { 5 })
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    let head = cut(text, room.saturating_sub(cells(&tail)), ellipsis);
    format!("{head}{tail}")
}

/// Returns a text that is cut, or filled up with spaces, to exactly this many cells.
pub(crate) fn fit(text: &str, room: usize, ellipsis: &str) -> String {
    let mut out = cut(text, room, ellipsis);
    out.extend(std::iter::repeat_n(' ', room.saturating_sub(cells(&out))));
    out
}

/// Breaks a line whose spaces have a meaning: at a space where there is one. `rest` stands before
/// the further lines.
pub(crate) fn fold(line: &str, room: usize, rest: &str) -> Vec<String> {
    let room = room.max(cells(rest) + 4);
    let (mut out, mut left) = (Vec::new(), line.to_string());
    while cells(&left) > room {
        let fits = cut(&left, room, "");
        let indent = fits.len() - fits.trim_start().len();
        let at = fits.rfind(' ').filter(|at| *at > indent).unwrap_or(fits.len());
        // One character may be wider than the room, as a cluster of Hangul consonants is.
        let first = || left[indent..].graphemes(true).next().map_or(0, str::len);
        let at = if at > indent { at } else { indent + first() };
        out.push(left[..at].trim_end().to_string());
        left = format!("{rest}{}", left[at..].trim_start());
    }
    out.push(left);
    out
}

/// Breaks a line as [`fold`] does, into at most so many lines: the last one has the rest, which is
/// cut where it is drawn.
pub(crate) fn fold_in(line: &str, room: usize, rest: &str, most: usize) -> Vec<String> {
    let mut lines = fold(line, room, rest);
    if lines.len() > most.max(1) {
        let left = lines.split_off(most.max(1) - 1);
        let bare =
            left.iter().enumerate().map(|(at, line)| if at == 0 { line.as_str() } else { line.trim_start() });
        lines.push(bare.collect::<Vec<&str>>().join(" "));
    }
    lines
}

/// A styled piece of a paragraph.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece {
    pub text: String,
    pub style: Style,
}

impl Piece {
    pub(crate) fn new(text: impl Into<String>, style: Style) -> Piece {
        Piece { text: text.into(), style }
    }
}

/// Breaks a paragraph into lines: at spaces, and inside a word only when it is wider than a line.
/// `first` stands before the first line and `rest` before the others.
pub(crate) fn wrap(pieces: &[Piece], room: usize, first: &str, rest: &str) -> Vec<Line<'static>> {
    let room = room.max(4);
    let mut lines: Vec<Vec<Span<'static>>> = vec![vec![Span::raw(first.to_string())]];
    let mut used = cells(first);
    let mut begun = false; // something stands on this line already
    // Words may run over several pieces (`**bold**,`): they are broken as one.
    let mut word: Vec<Piece> = Vec::new();
    let flush = |word: &mut Vec<Piece>,
                 lines: &mut Vec<Vec<Span<'static>>>,
                 used: &mut usize,
                 begun: &mut bool,
                 space: &mut Option<Style>| {
        let width: usize = word.iter().map(|p| cells(&p.text)).sum();
        if width == 0 {
            return;
        }
        let gap = usize::from(*begun && space.is_some());
        if *begun && *used + gap + width > room {
            lines.push(vec![Span::raw(rest.to_string())]);
            *used = cells(rest);
            *begun = false;
        } else if gap == 1 {
            if let Some(line) = lines.last_mut() {
                line.push(Span::styled(" ", space.unwrap_or_default()));
            }
            *used += 1;
        }
        *space = None;
        let parts: Vec<&str> = word.iter().flat_map(|piece| piece.text.graphemes(true)).collect();
        let (breaks, mut at) = (breaks(&parts, *used, cells(rest), room), 0);
        for piece in word.iter() {
            let mut text = String::new();
            for part in piece.text.graphemes(true) {
                if breaks.contains(&at) {
                    if let Some(line) = lines.last_mut() {
                        line.push(Span::styled(std::mem::take(&mut text), piece.style));
                    }
                    lines.push(vec![Span::raw(rest.to_string())]);
                    *used = cells(rest);
                }
                text.push_str(part);
                *used += cells(part);
                at += 1;
            }
            if let Some(line) = lines.last_mut() {
                line.push(Span::styled(text, piece.style));
            }
            *begun = true;
        }
        word.clear();
    };
    let mut space: Option<Style> = None;
    for piece in pieces {
        for (at, part) in piece.text.split([' ', '\n', '\t']).enumerate() {
            if at > 0 && word.last().is_some_and(|last| joins_unit(&last.text, part)) {
                word.push(Piece::new(format!(" {part}"), piece.style));
                continue;
            }
            if at > 0 {
                flush(&mut word, &mut lines, &mut used, &mut begun, &mut space);
                space = Some(piece.style);
            }
            if !part.is_empty() {
                word.push(Piece::new(part, piece.style));
            }
        }
    }
    flush(&mut word, &mut lines, &mut used, &mut begun, &mut space);
    lines.into_iter().map(Line::from).collect()
}

/// Returns the time of day in the learner's time zone: `12:03:41`.
pub(crate) fn time_of_day(at: Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string()
}

/// Formats microseconds for people: `0.02 ms`, `3.1 ms`, `323 ms`, `1.2 s`.
pub(crate) fn took(us: u64) -> String {
    match us {
        0..=999 => format!("{:.2} ms", us as f64 / 1e3),
        1_000..=99_949 => format!("{:.1} ms", us as f64 / 1e3),
        // A tenth of these would be rounded to a fourth figure.
        99_950..=99_999 => "100 ms".into(),
        100_000..=999_999 => format!("{} ms", us / 1000),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

/// Formats the time that a hop took as [`took`] does. Returns nothing if it was not measured.
pub(crate) fn measured(us: u64) -> String {
    if us == 0 { String::new() } else { took(us) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(lines: &[Line<'_>]) -> Vec<String> {
        lines.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_cut_never_halves_a_syllable() {
        for room in 0..12 {
            let cut = cut("파드 실행하기", room, "…");
            assert!(cells(&cut) <= room, "{cut:?} in {room}");
        }
        assert_eq!(cut("파드 실행하기", 4, "…"), "파…");
        assert_eq!(cut_middle("dep-59bbfd7587-t28zn", 12, "…"), "dep-59…t28zn");
        assert_eq!(fit("파드", 5, "…"), "파드 ");
        assert_eq!(cut("파드", 4, "…"), "파드");
    }

    #[test]
    fn words_stay_whole_over_changes_of_style_and_long_ones_are_broken() {
        let bold = Style::new().bold();
        let pieces =
            [Piece::new("a ", Style::new()), Piece::new("pod", bold), Piece::new(", or two", Style::new())];
        assert_eq!(plain(&wrap(&pieces, 7, "", "")), ["a pod,", "or two"]);
        let long = [Piece::new("see registry.example.com/very/long", Style::new())];
        for line in plain(&wrap(&long, 10, "- ", "  ")) {
            assert!(cells(&line) <= 10, "{line:?}");
        }
        let korean = [Piece::new("`kubectl run`은 파드를 저장해 달라고 요청할 뿐입니다", Style::new())];
        let lines = plain(&wrap(&korean, 16, "", ""));
        assert!(lines.iter().all(|l| cells(l) <= 16) && lines.len() > 2, "{lines:?}");
        assert_eq!(lines.join(" "), korean[0].text);
        let number = [Piece::new("뒤 2.93 s 동안", Style::new())];
        assert_eq!(plain(&wrap(&number, 8, "", "")), ["뒤", "2.93 s", "동안"], "a number keeps its unit");
    }

    #[test]
    fn a_closing_mark_stays_with_the_end_of_a_long_word() {
        let code = Style::new().bold();
        let pieces = |word: &str| [Piece::new(word, code), Piece::new(").", Style::new())];
        assert_eq!(plain(&wrap(&pieces("abcdefgh"), 8, "", "")), ["abcdefg", "h)."]);
        assert_eq!(plain(&wrap(&pieces("abcdefgh"), 9, "", "")), ["abcdefg", "h)."]);
        assert_eq!(plain(&wrap(&pieces("abcdefgh"), 10, "", "")), ["abcdefgh)."]);
        assert_eq!(plain(&wrap(&pieces("가나다라"), 8, "", "")), ["가나다", "라)."]);
        assert_eq!(plain(&wrap(&pieces("가나다라"), 10, "- ", "  ")), ["- 가나다", "  라)."]);
    }

    #[test]
    fn a_folded_line_keeps_its_spaces_and_loses_nothing() {
        assert_eq!(fold("F1   help   F2   more", 14, "  "), ["F1   help", "  F2   more"]);
        assert_eq!(fold("short", 14, "  "), ["short"]);
        assert_eq!(fold_in("aaa bbb ccc ddd", 8, "  ", 2), ["aaa bbb", "  ccc ddd"]);
        assert_eq!(fold_in("aaa bbb ccc ddd", 4, "  ", 2), ["aaa", "  bbb ccc ddd"]);
        assert_eq!(fold_in("aaa bbb", 7, "  ", 0), ["aaa bbb"]);
        let wide = "\u{1100}".repeat(8); // one character of 16 cells
        assert_eq!(fold(&format!("a {wide} b"), 6, "  ").concat().replace(' ', ""), format!("a{wide}b"));
        for room in 0..40 {
            let line =
                "  마우스   클릭하면 창을 고르고, Shift를 누른 채 글자를 선택합니다averylongwordindeed";
            let folded = fold(line, room, "   ");
            assert!(folded.iter().all(|l| cells(l) <= room.max(7)), "{room}: {folded:?}");
            let bare = |text: &str| text.replace(' ', "");
            assert_eq!(bare(&folded.concat()), bare(line), "{room}");
        }
    }

    #[test]
    fn times_have_three_figures_at_most() {
        assert_eq!(
            [took(20), took(3_140), took(99_949), took(99_950), took(323_725), took(1_250_000)],
            ["0.02 ms", "3.1 ms", "99.9 ms", "100 ms", "323 ms", "1.2 s"]
        );
        assert_eq!([measured(0), measured(20)], ["", "0.02 ms"]);
    }
}

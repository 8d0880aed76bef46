//! Output on its way into the emulator: rows that wrap in front of a wide character are marked as
//! wrapped.
//!
//! A wide character needs two columns. If one is left in the row, it goes into the next row, and
//! vt100 does not record that the row goes on there. So after a change of the window's size one
//! line would be two: 5 columns, `abcd파`, then 9 columns:
//! ```text
//! │abcd │   │abcd     │     │abcd파   │
//! │파   │   │파       │     │         │
//!            not marked      marked
//! ```
//! To mark the row, [`FILLER`] is printed into its last column, and the character once more: now
//! something stands in that column, and vt100 records the wrap. [`super::reflow`] takes it out
//! again.

use super::text::cells;
use tui_term::vt100::{Callbacks, Parser};

/// Stands in the last column of a row that wrapped in front of a wide character: only a cell with
/// something in it makes vt100 record that the row wrapped. A no-break space, which no program
/// prints there.
pub(super) const FILLER: &str = "\u{a0}";

/// Returns where the last character begins if some of its bytes are still to come, else the end: a
/// read ends wherever it ends.
pub(super) fn whole_characters(bytes: &[u8]) -> usize {
    let rest = bytes.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    let is_begun = std::str::from_utf8(rest).is_err_and(|error| error.error_len().is_none());
    bytes.len() - if is_begun { rest.len() } else { 0 }
}

/// Prints output, and marks rows that wrap in front of a wide character. The output ends with a
/// whole character.
pub(super) fn print<C: Callbacks>(parser: &mut Parser<C>, bytes: &[u8]) {
    // ASCII together, every other character on its own.
    let together = |left: &u8, right: &u8| left.is_ascii() && right.is_ascii() || right & 0xc0 == 0x80;
    for piece in bytes.chunk_by(together) {
        let before = parser.screen().cursor_position();
        parser.process(piece);
        if has_wrapped(parser, before, piece) {
            mark(parser, piece);
        }
    }
}

/// True if this character was printed where one column was left, and stands in the next row. A
/// program with a screen of its own places its characters itself.
fn has_wrapped<C: Callbacks>(parser: &Parser<C>, before: (u16, u16), piece: &[u8]) -> bool {
    let (screen, (rows, columns)) = (parser.screen(), parser.screen().size());
    let (row, column) = screen.cursor_position();
    let has_scrolled = before.0 + 1 == rows && row == before.0;
    !piece.is_ascii()
        && !screen.alternate_screen()
        && (columns > 2 && before.1 + 1 == columns && column == 2)
        && (row == before.0 + 1 || row > 0 && has_scrolled)
        && std::str::from_utf8(piece).is_ok_and(|text| cells(text) == 2)
}

/// Prints the filler at the end of the row above the cursor, and the character behind it again.
fn mark<C: Callbacks>(parser: &mut Parser<C>, piece: &[u8]) {
    let (row, columns) = (parser.screen().cursor_position().0, parser.screen().size().1);
    let pen = parser.screen().attributes_formatted();
    parser.process(format!("\x1b[A\x1b[{columns}G").as_bytes());
    // The upper edge of a scroll region keeps the cursor from going up.
    if parser.screen().cursor_position() != (row - 1, columns - 1) {
        return parser.process(b"\x1b[3G");
    }
    parser.process(&[b"\x1b[m".as_slice(), FILLER.as_bytes(), pen.as_slice(), piece].concat());
}

#[cfg(test)]
mod tests {
    use super::super::terminal::Emulator;

    fn lines(shell: &Emulator) -> Vec<String> {
        shell.screen().contents().lines().map(|line| line.trim_end().to_string()).collect()
    }

    /// A prompt with the Korean title of a lesson, in a window that is made wider.
    #[test]
    fn a_line_that_wraps_before_a_wide_character_is_one_line_in_a_wider_window() {
        for before in ["", "\r\n\r\n\r\n\r\n\r\n", "\x1b[31m"] {
            let mut shell = Emulator::new(5, 8);
            shell.take(before.as_bytes());
            shell.take("08 curl로 서비스에\r\n$ ".as_bytes()); // 08 curl, 로 서비, 스에
            assert!(shell.resize(5, 30, false));
            let all = lines(&shell);
            let shown: Vec<&str> = all.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
            assert_eq!(shown, ["08 curl로 서비스에", "$"], "{before:?}");
        }
    }

    /// The bytes of the character come with two reads.
    #[test]
    fn a_character_that_a_read_has_split_is_marked_too() {
        let mut shell = Emulator::new(5, 5);
        shell.take(b"abcd\xed\x8c");
        shell.take(b"\x8ce");
        assert!(shell.resize(5, 9, false));
        assert_eq!(lines(&shell), ["abcd파e"]);
    }

    /// The row ended there because the program ended it.
    #[test]
    fn a_line_that_ends_before_a_wide_character_stays_a_line() {
        let mut shell = Emulator::new(5, 5);
        shell.take("abcd\r\n파드".as_bytes());
        assert!(shell.resize(5, 9, false));
        assert_eq!(lines(&shell), ["abcd", "파드"]);
    }

    #[test]
    fn colours_and_what_follows_are_as_printed() {
        let mut shell = Emulator::new(5, 5);
        shell.take("\x1b[32mabcd파드e".as_bytes());
        let rows: Vec<String> = shell.screen().rows(0, 5).collect();
        assert_eq!(rows[1], "파드e");
        let colour = |row, column| shell.screen().cell(row, column).map(|cell| cell.fgcolor());
        let green = Some(tui_term::vt100::Color::Idx(2));
        assert_eq!([colour(0, 3), colour(1, 0), colour(1, 4)], [green; 3]);
        assert_eq!(shell.screen().cursor_position(), (1, 5));
    }
}

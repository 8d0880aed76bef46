//! Lays out the lines of a terminal anew when its size changes. Pure: an emulator in, one of
//! another size out.
//!
//! vt100 cuts rows off at the right edge of a narrower window, and what was cut off does not come
//! back when the window is wide again. But it records which rows were wrapped, that is, go on in
//! the next row. So the rows are joined to the lines that programs printed, and the lines are
//! printed once more on a screen of the new width, which wraps them where they wrap now. 8 columns,
//! 4 columns, and 8 columns again:
//! ```text
//! │abcdef  │   │abcd│   │abcdef  │
//! │gh      │   │ef  │   │gh      │
//!              │gh  │
//! ```
//! The line that an editor edits is left as it is and cut, as long as it is edited: rustyline and
//! readline count the rows that it had, go up so many, and print it anew. A full-screen program
//! does the same with the whole screen, so its screen is cut, too. The scroll region becomes the
//! whole screen, as in other terminals: nothing tells what it was.
//!
//! A row that wraps in front of a wide character, with one column left over, carries [`FILLER`] in
//! that column: see [`super::wide`].

use super::wide::FILLER;
use tui_term::vt100::{self, Cell, Color, Parser, Screen};

/// A cell, without the second halves of wide characters; `None`: nothing was ever printed there.
type Glyph = Option<Cell>;

fn width(glyph: &Glyph) -> usize {
    1 + usize::from(glyph.as_ref().is_some_and(Cell::is_wide))
}

/// True for a cell with nothing to be seen, which may be left out at a line's end.
fn is_blank(cell: Option<&Cell>) -> bool {
    cell.is_none_or(|cell| {
        matches!(cell.contents(), "" | " ")
            && cell.bgcolor() == Color::Default
            && !cell.underline()
            && !cell.inverse()
    })
}

/// A glyph of a line.
#[derive(Clone, Copy)]
struct Place {
    line: usize,
    at: usize,
}

/// The lines of a screen and its past, oldest first, as programs printed them.
struct Lines {
    lines: Vec<Vec<Glyph>>,
    /// For each row as it was: its first glyph.
    starts: Vec<Place>,
}

/// Reads the rows of a screen with its past, and which of them go on in the next one. Returns the
/// number of rows of the past, too.
fn read_rows(screen: &mut Screen) -> (Vec<Vec<Glyph>>, Vec<bool>, usize) {
    let (rows, columns) = screen.size();
    screen.set_scrollback(usize::MAX);
    let past = screen.scrollback();
    let (mut all, mut wrapped) = (Vec::new(), Vec::new());
    while all.len() < past + usize::from(rows) {
        let first = all.len();
        screen.set_scrollback(past.saturating_sub(first));
        let count = if first < past { usize::from(rows).min(past - first) } else { rows.into() };
        for row in (0..rows).take(count) {
            let cell = |column| screen.cell(row, column);
            let goes_on = screen.row_wrapped(row);
            // Of a row that ends its line only what is to be seen.
            let seen = match goes_on {
                true => columns,
                false => (0..columns).rev().find(|c| !is_blank(cell(*c))).map_or(0, |c| c + 1),
            };
            let cells = (0..seen).map(cell).filter(|c| !c.is_some_and(Cell::is_wide_continuation));
            all.push(cells.map(Option::<&Cell>::cloned).collect());
            wrapped.push(goes_on);
        }
    }
    (all, wrapped, past)
}

impl Lines {
    /// Joins rows. Those of `kept` stay lines of their own, cut to so many columns.
    fn join(rows: Vec<Vec<Glyph>>, wrapped: &[bool], kept: &std::ops::Range<usize>, columns: usize) -> Lines {
        let mut all = Lines { lines: Vec::new(), starts: Vec::new() };
        let begins_wide: Vec<bool> =
            rows.iter().map(|row| row.first().is_some_and(|g| width(g) == 2)).collect();
        for (n, mut row) in rows.into_iter().enumerate() {
            let goes_on = wrapped[n] && !kept.contains(&n) && begins_wide.len() > n + 1;
            let joined = n > 0 && wrapped[n - 1] && !kept.contains(&(n - 1));
            if goes_on {
                let is_filler = |g: &Glyph| g.as_ref().is_some_and(|cell| cell.contents() == FILLER);
                if begins_wide[n + 1] && row.last().is_some_and(is_filler) {
                    row.pop();
                }
            } else if wrapped[n] {
                row.truncate(row.len() - row.iter().rev().take_while(|g| is_blank(g.as_ref())).count());
            }
            if kept.contains(&n) {
                row.truncate(row_ends(&row, columns).first().copied().unwrap_or(row.len()));
            }
            if !joined {
                all.lines.push(Vec::new());
            }
            let line = all.lines.len() - 1;
            all.starts.push(Place { line, at: all.lines[line].len() });
            all.lines[line].append(&mut row);
        }
        all
    }

    /// Returns the glyph at a column of a row as it was. A shorter line gets blanks up to there.
    fn place(&mut self, row: usize, column: usize) -> Place {
        let Place { line, mut at } = self.starts[row];
        let glyphs = &mut self.lines[line];
        let mut used = 0;
        while used < column {
            if at == glyphs.len() {
                glyphs.push(None);
            }
            used += width(&glyphs[at]);
            at += 1;
        }
        Place { line, at }
    }
}

/// Returns where the rows of a line end on so many columns, without the last row: on 5 columns
/// `a파드b` ends at 3 (`a파드`).
fn row_ends(line: &[Glyph], columns: usize) -> Vec<usize> {
    let (mut ends, mut used) = (Vec::new(), 0);
    for (at, glyph) in line.iter().enumerate() {
        if used + width(glyph) > columns {
            ends.push(at);
            used = 0;
        }
        used += width(glyph);
    }
    ends
}

/// Lines as rows of the new width.
struct Layout {
    /// For each line, where its rows begin.
    begins: Vec<Vec<usize>>,
    /// For each line, the number of rows before it.
    before: Vec<usize>,
    rows: usize,
}

impl Layout {
    fn new(lines: &[Vec<Glyph>], columns: usize) -> Layout {
        let mut layout = Layout { begins: Vec::new(), before: Vec::new(), rows: 0 };
        for line in lines {
            let begins: Vec<usize> = std::iter::once(0).chain(row_ends(line, columns)).collect();
            layout.before.push(layout.rows);
            layout.rows += begins.len();
            layout.begins.push(begins);
        }
        layout
    }

    /// Returns the row and the column of a glyph. The column is the width of the screen if it is
    /// the end of a line that fills its last row.
    fn find(&self, lines: &[Vec<Glyph>], place: Place) -> (usize, usize) {
        let begins = &self.begins[place.line];
        let row = begins.partition_point(|begin| *begin <= place.at).saturating_sub(1);
        let glyphs = &lines[place.line][begins[row]..place.at];
        (self.before[place.line] + row, glyphs.iter().map(width).sum())
    }
}

/// How a glyph is drawn.
#[derive(Clone, Copy, Default, PartialEq)]
struct Pen {
    /// Of the foreground and of the background.
    colours: [Color; 2],
    /// Bold, dim, italic, underlined, inverse.
    marks: [bool; 5],
}

impl Pen {
    fn of(glyph: &Glyph) -> Pen {
        glyph.as_ref().map_or(Pen::default(), |cell| Pen {
            colours: [cell.fgcolor(), cell.bgcolor()],
            marks: [cell.bold(), cell.dim(), cell.italic(), cell.underline(), cell.inverse()],
        })
    }

    /// Returns the sequence that sets it: SGR.
    fn sequence(&self) -> String {
        let mut out = "\x1b[0".to_string();
        for (mark, code) in self.marks.iter().zip([";1", ";2", ";3", ";4", ";7"]) {
            out.push_str(if *mark { code } else { "" });
        }
        for (colour, base) in self.colours.iter().zip([38, 48]) {
            match colour {
                Color::Default => {}
                Color::Idx(n) => out.push_str(&format!(";{base};5;{n}")),
                Color::Rgb(r, g, b) => out.push_str(&format!(";{base};2;{r};{g};{b}")),
            }
        }
        out + "m"
    }
}

/// Prints glyphs.
#[derive(Default)]
struct Printer {
    bytes: Vec<u8>,
    pen: Pen,
}

impl Printer {
    fn put(&mut self, glyph: &Glyph) {
        let pen = Pen::of(glyph);
        if pen != self.pen {
            self.bytes.extend(pen.sequence().bytes());
            self.pen = pen;
        }
        let text = glyph.as_ref().map(Cell::contents).filter(|text| !text.is_empty());
        self.bytes.extend_from_slice(text.unwrap_or(" ").as_bytes());
    }

    /// Prints the first rows of a layout that has so many columns.
    fn rows(&mut self, lines: &[Vec<Glyph>], layout: &Layout, shown: usize, columns: usize) {
        let mut row = 0;
        for (line, begins) in lines.iter().zip(&layout.begins) {
            for (n, begin) in begins.iter().enumerate().take(shown - row.min(shown)) {
                let glyphs = &line[*begin..begins.get(n + 1).copied().unwrap_or(line.len())];
                glyphs.iter().for_each(|glyph| self.put(glyph));
                let ends = n + 1 == begins.len();
                if !ends && glyphs.iter().map(width).sum::<usize>() < columns {
                    self.say(FILLER);
                }
                row += 1;
                if ends && row < shown {
                    self.say("\r\n");
                }
            }
        }
    }

    fn say(&mut self, sequence: &str) {
        if self.pen != Pen::default() {
            self.bytes.extend(b"\x1b[m");
            self.pen = Pen::default();
        }
        self.bytes.extend(sequence.bytes());
    }
}

/// What a terminal had before its size changed.
struct Old {
    /// The sequences that set its input modes, and its pen.
    modes: Vec<u8>,
    pens: Vec<u8>,
    hidden: bool,
    /// Rows scrolled back.
    scrolled: usize,
    /// Row and column of the cursor, and of the one that DECSC saved, with its pen.
    cursor: (u16, u16),
    saved: (u16, u16),
    saved_pens: Vec<u8>,
    /// All rows, which of them go on in the next one, and how many are of the past.
    read: Vec<Vec<Glyph>>,
    wrapped: Vec<bool>,
    past: usize,
    /// The other screen, cut to the new size, if a full-screen program has it.
    program: Option<Vec<u8>>,
}

impl Old {
    fn of(mut old: Parser, rows: u16, columns: u16) -> Old {
        let modes = old.screen().input_mode_formatted();
        let hidden = old.screen().hide_cursor();
        let covered = old.screen().alternate_screen();
        let pens = old.screen().attributes_formatted();
        if covered {
            old.process(b"\x1b[?47l");
        }
        let scrolled = old.screen().scrollback();
        let cursor = old.screen().cursor_position();
        let (read, wrapped, past) = read_rows(old.screen_mut());
        old.process(b"\x1b8"); // where DECRC would go, and with which pen
        let (saved, saved_pens) = (old.screen().cursor_position(), old.screen().attributes_formatted());
        let program = covered.then(|| {
            old.process(b"\x1b[?47h");
            old.screen_mut().set_size(rows, columns);
            old.screen().contents_formatted()
        });
        Old { modes, pens, hidden, scrolled, cursor, saved, saved_pens, read, wrapped, past, program }
    }
}

/// Returns the rows of the line in which the cursor is.
fn line_of(cursor_row: usize, last: usize, wrapped: &[bool]) -> std::ops::Range<usize> {
    let first = (0..cursor_row).rev().take_while(|row| wrapped[*row]).last();
    let behind = (cursor_row..last).take_while(|row| wrapped[*row]).count();
    first.unwrap_or(cursor_row)..cursor_row + behind + 1
}

/// Returns a terminal of another size with the same lines, the same past of at most `past_max`
/// rows, and the same modes. `edited`: an editor has the line of the cursor and prints it anew.
///
/// # Panics
/// Where vt100 does, over strange screens.
pub(super) fn resized(old: Parser, rows: u16, columns: u16, past_max: usize, edited: bool) -> Parser {
    let (old_rows, old_columns) = old.screen().size();
    let Old { modes, hidden, pens, scrolled, cursor, mut read, wrapped, past, saved, saved_pens, program } =
        Old::of(old, rows, columns);
    // Below the cursor and the last line there is nothing to keep.
    let cursor_row = past + usize::from(cursor.0);
    let last =
        read.iter().rposition(|row| !row.iter().all(|g| is_blank(g.as_ref()))).unwrap_or(0).max(cursor_row);
    read.truncate(last + 1);
    let kept = match edited && old_columns != columns {
        true => line_of(cursor_row, last, &wrapped),
        false => 0..0,
    };
    let wide = usize::from(columns);
    let mut lines = Lines::join(read, &wrapped, &kept, wide);
    let mut place = |(row, column): (usize, u16)| {
        let column = usize::from(column);
        lines.place(row, if kept.contains(&row) { column.min(wide - 1) } else { column })
    };
    let cursor = place((cursor_row, cursor.1));
    let saved = place(((past + usize::from(saved.0)).min(last), saved.1));
    let upper = place((past, 0));
    let seen = place((past - scrolled, 0));
    let Lines { lines, .. } = lines;
    let layout = Layout::new(&lines, wide);
    let find = |place| layout.find(&lines, place);
    let (cursor_at, tall) = (find(cursor), usize::from(rows));

    // The first row on the screen. Of a full screen the end stays in sight, and the past comes back
    // where there is room; of one with room below, as after `clear`, the beginning stays. The
    // cursor is in sight in any case.
    let end = layout.rows.saturating_sub(tall);
    let full = last + 1 == past + usize::from(old_rows);
    let top = if full { end } else { find(upper).0.max(end) };
    let top = top.min(cursor_at.0).max((cursor_at.0 + 1).saturating_sub(tall));

    let mut out = Printer::default();
    let shown = layout.rows.min(top + tall);
    out.rows(&lines, &layout, shown, wide);
    let over = top - shown.saturating_sub(tall);
    if over > 0 {
        out.say(&format!("\x1b[{over}S"));
    }
    let go = |(row, column): (usize, usize)| {
        let row = row.saturating_sub(top).min(tall - 1);
        format!("\x1b[{};{}H", row + 1, column.min(wide - 1) + 1)
    };
    out.say(&go(find(saved)));
    out.bytes.extend(saved_pens);
    out.say("\x1b7\x1b[m");
    match lines[cursor.line].get(cursor.at.wrapping_sub(1)) {
        // Behind the last column: the next character wraps.
        Some(glyph) if cursor_at.1 == wide => {
            out.say(&go((cursor_at.0, wide - width(glyph))));
            out.put(glyph);
        }
        _ => out.say(&go(cursor_at)),
    }
    out.say(if hidden { "\x1b[?25l" } else { "" });
    if let Some(screen) = program {
        out.bytes.extend([b"\x1b[?47h", screen.as_slice()].concat());
    }
    out.bytes.extend([pens, modes].concat());
    let mut new = vt100::Parser::new(rows, columns, past_max);
    new.process(&out.bytes);
    if scrolled > 0 {
        new.screen_mut().set_scrollback(top.saturating_sub(find(seen).0));
    }
    new
}

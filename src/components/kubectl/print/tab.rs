//! Columns: Go's text/tabwriter, as far as kubectl uses it.

/// The characters that end a cell.
const TABS: [char; 2] = ['\t', '\u{b}'];
/// The characters that end a line.
const BREAKS: [char; 2] = ['\n', '\u{c}'];

/// Aligns cells that end with a tab (or a vertical tab). A column is a run of consecutive lines
/// that all have such a cell there; a form feed ends the line and every column.
///
/// The columns are found in one pass without recursion: a line of the cluster may have any number
/// of tabs.
pub(crate) fn align(text: &str, min_width: usize, padding: usize) -> String {
    let mut lines: Vec<(Vec<&str>, Vec<usize>)> = vec![];
    // The widths of all columns, and which of them the last line is part of.
    let (mut widths, mut open): (Vec<usize>, Vec<usize>) = (vec![], vec![]);
    for line in text.split_inclusive(BREAKS) {
        let ends_all = line.ends_with('\u{c}');
        let cells: Vec<&str> = line.strip_suffix(BREAKS).unwrap_or(line).split(TABS).collect();
        open.truncate(cells.len() - 1);
        for (i, cell) in cells[..cells.len() - 1].iter().enumerate() {
            if i == open.len() {
                open.push(widths.len());
                widths.push(min_width);
            }
            let width = &mut widths[open[i]];
            *width = (*width).max(cell.chars().count() + padding);
        }
        lines.push((cells, open.clone()));
        if ends_all {
            open.clear();
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (cells, columns) in &lines {
        for (i, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            if let Some(column) = columns.get(i) {
                let missing = widths[*column].saturating_sub(cell.chars().count());
                out.extend(std::iter::repeat_n(' ', missing));
            }
        }
        out.push('\n');
    }
    if !text.ends_with(BREAKS) {
        out.pop();
    }
    out
}

/// A table whose columns never get narrower: for watches, which print a row at a time.
#[derive(Default)]
pub(crate) struct Remembering {
    widths: Vec<usize>,
}

impl Remembering {
    /// Aligns one batch of rows. kubectl's tables have at least 6 columns' width and 3 spaces
    /// between columns. As in kubectl a tab inside a cell begins another column, and a line break
    /// another line.
    pub(crate) fn rows(&mut self, rows: &[Vec<String>]) -> String {
        let mut out = String::new();
        let lines: Vec<String> = rows.iter().map(|row| row.join("\t")).collect();
        let rows: Vec<Vec<&str>> =
            lines.iter().flat_map(|line| line.split(BREAKS).map(|line| line.split(TABS).collect())).collect();
        for row in &rows {
            for (i, cell) in row.iter().enumerate().take(row.len().saturating_sub(1)) {
                let width = cell.chars().count() + 3;
                match self.widths.get_mut(i) {
                    Some(known) => *known = (*known).max(width),
                    None => self.widths.push(width.max(6)),
                }
            }
        }
        for row in &rows {
            for (i, cell) in row.iter().enumerate() {
                out.push_str(cell);
                if i + 1 < row.len() {
                    let width = self.widths.get(i).copied().unwrap_or(0);
                    out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
                }
            }
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_end_where_a_line_lacks_the_cell() {
        let text = "Name:\tx\nLonger name:\ty\nplain\nA:\tz\n";
        assert_eq!(align(text, 0, 2), "Name:         x\nLonger name:  y\nplain\nA:  z\n");
        assert_eq!(align("a\tb\tc\nlong\t\tc\n", 0, 1), "a    b c\nlong   c\n");
    }

    #[test]
    fn a_line_of_many_tabs_is_only_a_long_line() {
        let tabs = "\t".repeat(1 << 20);
        assert_eq!(align(&format!("a{tabs}b\n"), 0, 1).len(), (1 << 20) + 3);
        assert_eq!(align("", 0, 1), "");
        assert_eq!(align("\n\n", 0, 1), "\n\n");
        assert_eq!(align("a\tb\n\nc\td", 0, 1), "a b\n\nc d");
        // A form feed ends a line and its columns, a vertical tab ends a cell.
        assert_eq!(align("long\tb\x0cc\x0bd\n", 0, 1), "long b\nc d\n");
    }

    #[test]
    fn a_watch_remembers_the_widest_cell() {
        let row = |a: &str, b: &str| vec![a.to_string(), b.to_string()];
        let mut table = Remembering::default();
        assert_eq!(table.rows(&[row("NAME", "AGE"), row("longer", "1s")]), "NAME     AGE\nlonger   1s\n");
        assert_eq!(table.rows(&[row("a", "2s")]), "a        2s\n");
        assert_eq!(table.rows(&[row("a\tb", "2s")]), "a        b     2s\n");
    }
}

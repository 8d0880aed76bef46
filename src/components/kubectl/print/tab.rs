//! Columns: Go's text/tabwriter, as far as kubectl uses it.

/// Aligns cells that end with a tab. A column is a run of consecutive lines that all have such a
/// cell there.
pub fn align(text: &str, min_width: usize, padding: usize) -> String {
    let ends_open = !text.ends_with('\n');
    let body = if ends_open { text } else { &text[..text.len() - 1] };
    let lines: Vec<Vec<&str>> = body.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut out = String::with_capacity(text.len() * 2);
    let mut widths = vec![];
    let layout = Layout { lines: &lines, min_width, padding };
    layout.format(0, lines.len(), &mut widths, &mut out);
    if ends_open {
        out.pop();
    }
    out
}

struct Layout<'a> {
    lines: &'a [Vec<&'a str>],
    min_width: usize,
    padding: usize,
}

impl Layout<'_> {
    fn format(&self, mut from: usize, to: usize, widths: &mut Vec<usize>, out: &mut String) {
        let column = widths.len();
        let mut here = from;
        while here < to {
            if column + 1 >= self.lines[here].len() {
                here += 1;
                continue;
            }
            self.write(from, here, widths, out);
            from = here;
            let mut width = self.min_width;
            while here < to && column + 1 < self.lines[here].len() {
                width = width.max(self.lines[here][column].chars().count() + self.padding);
                here += 1;
            }
            widths.push(width);
            self.format(from, here, widths, out);
            widths.pop();
            from = here;
        }
        self.write(from, to, widths, out);
    }

    fn write(&self, from: usize, to: usize, widths: &[usize], out: &mut String) {
        for line in &self.lines[from..to] {
            for (i, cell) in line.iter().enumerate() {
                out.push_str(cell);
                if let Some(width) = widths.get(i) {
                    out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
                }
            }
            out.push('\n');
        }
    }
}

/// A table whose columns never get narrower: for watches, which print a row at a time.
#[derive(Default)]
pub struct Remembering {
    widths: Vec<usize>,
}

impl Remembering {
    /// One batch of rows; kubectl's tables have at least 6 columns' width and 3 spaces between
    /// columns.
    pub fn rows(&mut self, rows: &[Vec<String>]) -> String {
        let mut out = String::new();
        for row in rows {
            for (i, cell) in row.iter().enumerate().take(row.len().saturating_sub(1)) {
                let width = cell.chars().count() + 3;
                match self.widths.get_mut(i) {
                    Some(known) => *known = (*known).max(width),
                    None => self.widths.push(width.max(6)),
                }
            }
        }
        for row in rows {
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

    pub fn forget(&mut self) {
        self.widths.clear();
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
    fn a_watch_remembers_the_widest_cell() {
        let row = |a: &str, b: &str| vec![a.to_string(), b.to_string()];
        let mut table = Remembering::default();
        assert_eq!(table.rows(&[row("NAME", "AGE"), row("longer", "1s")]), "NAME     AGE\nlonger   1s\n");
        assert_eq!(table.rows(&[row("a", "2s")]), "a        2s\n");
    }
}

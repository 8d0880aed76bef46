//! Where the panes are. Pure: size in, rectangles out.

use ratatui::layout::Rect;

/// A part of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pane {
    Lesson,
    Map,
    Shell,
}

/// Below this the panes do not fit side by side: one is shown at a time.
pub(crate) const SMALL: (u16, u16) = (80, 24);
/// From this on the lesson stands at the left for the whole height.
const LARGE: (u16, u16) = (110, 30);
/// On a screen that is narrower, half of it cuts the commands of a lesson inside their words: the
/// lesson has all columns, and the map a strip.
const NARROW: u16 = LARGE.0;
/// Lines of that strip.
const STRIP: u16 = 2;

/// How a screen of some size is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One pane at a time.
    Single,
    /// The lesson over the whole width, two lines of the map, the shell. The map itself has the
    /// whole screen while it has the focus.
    Strip,
    /// Lesson and map side by side above the shell.
    Halves,
    /// The lesson at the left, the map above the shell at the right.
    Large,
}

impl Form {
    pub(crate) fn of(area: Rect) -> Form {
        match (area.width, area.height) {
            (width, height) if width < SMALL.0 || height < SMALL.1 => Form::Single,
            (width, _) if width < NARROW => Form::Strip,
            (_, height) if height < LARGE.1 => Form::Halves,
            _ => Form::Large,
        }
    }

    /// True if the map is shown whole only while it has the focus.
    pub(crate) fn hides_map(self) -> bool {
        matches!(self, Form::Single | Form::Strip)
    }
}

/// Rectangles with their borders; empty: not on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Panes {
    pub lesson: Rect,
    pub map: Rect,
    /// The map has no frame, and says in its two lines what it would show.
    pub strip: bool,
    pub shell: Rect,
    /// The line with the names of the panes where only one is shown.
    pub tabs: Rect,
    pub foot: Rect,
}

impl Panes {
    pub(crate) fn of(&self, pane: Pane) -> Rect {
        match pane {
            Pane::Lesson => self.lesson,
            Pane::Map => self.map,
            Pane::Shell => self.shell,
        }
    }
    pub(crate) fn at(&self, x: u16, y: u16) -> Option<Pane> {
        [Pane::Lesson, Pane::Map, Pane::Shell].into_iter().find(|p| self.of(*p).contains((x, y).into()))
    }
}

/// Without the border.
pub(crate) fn inside(pane: Rect) -> Rect {
    if pane.width < 3 || pane.height < 3 {
        return Rect { width: 0, height: 0, ..pane };
    }
    Rect::new(pane.x + 1, pane.y + 1, pane.width - 2, pane.height - 2)
}

/// The emulator cannot do with less: a line that wraps needs a second row, a syllable two columns.
const SMALLEST: (u16, u16) = (2, 2);
/// Nor is it larger: each of 5000 lines that can be scrolled back to takes 32 bytes a column, which
/// makes 160 MB here.
const LARGEST: (u16, u16) = (1000, 1000);

/// Rows and columns of the shell's terminal in a pane of so many.
pub(crate) fn terminal(rows: u16, columns: u16) -> (u16, u16) {
    (rows.clamp(SMALLEST.0, LARGEST.0), columns.clamp(SMALLEST.1, LARGEST.1))
}

/// So many hundredths of a length. A window may have up to 65 535 columns.
fn share(length: u16, hundredths: u32) -> u16 {
    u16::try_from(u32::from(length) * hundredths / 100).unwrap_or(u16::MAX)
}

/// `ponders`: a question waits for its answer, so there is much to read and nothing yet to see.
pub(crate) fn panes(area: Rect, focus: Pane, zoom: bool, ponders: bool) -> Panes {
    let mut panes = Panes::default();
    let form = Form::of(area);
    let small = form == Form::Single;
    let opened = form == Form::Strip && focus == Pane::Map;
    let foot = if small { 1 } else { 2 }.min(area.height);
    let (top, rest) = (area.y, area.height - foot);
    panes.foot = Rect::new(area.x, area.y + rest, area.width, foot);
    if small || zoom || opened {
        let tabs = u16::from(small && rest > 3);
        panes.tabs = Rect::new(area.x, top, area.width, tabs);
        let whole = Rect::new(area.x, top + tabs, area.width, rest - tabs);
        match focus {
            Pane::Lesson => panes.lesson = whole,
            Pane::Map => panes.map = whole,
            Pane::Shell => panes.shell = whole,
        }
        return panes;
    }
    if form == Form::Large {
        let left = share(area.width, 36).clamp(42, 64);
        let upper = share(rest, 55).clamp(15, 30);
        panes.lesson = Rect::new(area.x, top, left, rest);
        panes.map = Rect::new(area.x + left, top, area.width - left, upper);
        panes.shell = Rect::new(area.x + left, top + upper, area.width - left, rest - upper);
        return panes;
    }
    let upper = share(rest, 57).clamp(12, 18);
    panes.shell = Rect::new(area.x, top + upper, area.width, rest - upper);
    if form == Form::Strip {
        panes.strip = !ponders;
        let strip = if panes.strip { STRIP } else { 0 };
        panes.lesson = Rect::new(area.x, top, area.width, upper - strip);
        panes.map = Rect::new(area.x, top + upper - strip, area.width, strip);
        return panes;
    }
    let left = if ponders && focus != Pane::Map { area.width } else { area.width / 2 };
    panes.lesson = Rect::new(area.x, top, left, upper);
    panes.map = Rect::new(area.x + left, top, area.width - left, upper);
    panes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panes_cover_the_screen_and_never_overlap() {
        for (width, height) in [
            (0, 0),
            (0, 24),
            (80, 0),
            (1, 1),
            (20, 5),
            (79, 24),
            (80, 23),
            (80, 24),
            (100, 50),
            (120, 34),
            (200, 60),
            (400, 24),
            (u16::MAX, 24),
            (100, u16::MAX),
            (u16::MAX, u16::MAX),
        ] {
            for focus in [Pane::Lesson, Pane::Map, Pane::Shell] {
                for (zoom, ponders) in [(false, false), (false, true), (true, false), (true, true)] {
                    let area = Rect::new(0, 0, width, height);
                    let p = panes(area, focus, zoom, ponders);
                    let all = [p.lesson, p.map, p.shell, p.tabs, p.foot];
                    let cells: u32 = all.iter().map(|r| r.area()).sum();
                    assert_eq!(cells, area.area(), "{width}x{height} {focus:?} {zoom}: {p:?}");
                    for (at, one) in all.iter().enumerate() {
                        for other in &all[at + 1..] {
                            assert!(!one.intersects(*other) || one.is_empty() || other.is_empty(), "{p:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn at_80_by_24_the_lesson_has_all_columns_and_the_map_two_lines() {
        let area = Rect::new(0, 0, 80, 24);
        let p = panes(area, Pane::Shell, false, false);
        assert_eq!(inside(p.shell).height, 8, "{p:?}");
        assert_eq!((p.lesson.width, p.map, p.strip), (80, Rect::new(0, 10, 80, 2), true));
        assert_eq!(panes(area, Pane::Lesson, false, false), p);
        let asked = panes(area, Pane::Shell, false, true);
        assert_eq!((asked.lesson.height, asked.map.height, asked.shell), (12, 0, p.shell));
        let opened = panes(area, Pane::Map, false, false);
        assert_eq!((opened.map, opened.strip), (Rect::new(0, 0, 80, 22), false));
        assert!(opened.lesson.is_empty() && opened.shell.is_empty());
    }

    #[test]
    fn the_widest_window_fills_no_memory() {
        let mut shell = super::super::terminal::Emulator::new(5, 20);
        assert!(shell.resize(u16::MAX, u16::MAX, false));
        assert_eq!(shell.size(), LARGEST);
        assert!(!shell.resize(u16::MAX, 1200, false), "it has this size already");
        shell.take(b"$ ls");
        assert!(shell.resize(1, 1, false));
        assert_eq!(shell.size(), SMALLEST);
    }

    #[test]
    fn the_size_alone_decides_how_a_screen_is_divided() {
        for (size, form) in [
            ((79, 24), Form::Single),
            ((80, 23), Form::Single),
            ((80, 24), Form::Strip),
            ((109, 60), Form::Strip),
            ((110, 24), Form::Halves),
            ((200, 29), Form::Halves),
            ((110, 30), Form::Large),
            ((120, 36), Form::Large),
        ] {
            let area = Rect::new(0, 0, size.0, size.1);
            assert_eq!(Form::of(area), form, "{size:?}");
            assert_eq!(panes(area, Pane::Shell, false, false).strip, form == Form::Strip, "{size:?}");
        }
    }
}

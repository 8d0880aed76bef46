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

/// Rectangles with their borders; empty: not on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Panes {
    pub lesson: Rect,
    pub map: Rect,
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

/// So many hundredths of a length. A window may have up to 65 535 columns.
fn share(length: u16, hundredths: u32) -> u16 {
    u16::try_from(u32::from(length) * hundredths / 100).unwrap_or(u16::MAX)
}

/// `ponders`: a question waits for its answer, so there is much to read and nothing yet to see.
pub(crate) fn panes(area: Rect, focus: Pane, zoom: bool, ponders: bool) -> Panes {
    let mut panes = Panes::default();
    let small = area.width < SMALL.0 || area.height < SMALL.1;
    let foot = if small { 1 } else { 2 }.min(area.height);
    let (top, rest) = (area.y, area.height - foot);
    panes.foot = Rect::new(area.x, area.y + rest, area.width, foot);
    if small || zoom {
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
    if area.width >= LARGE.0 && area.height >= LARGE.1 {
        let left = share(area.width, 36).clamp(42, 64);
        let upper = share(rest, 55).clamp(15, 30);
        panes.lesson = Rect::new(area.x, top, left, rest);
        panes.map = Rect::new(area.x + left, top, area.width - left, upper);
        panes.shell = Rect::new(area.x + left, top + upper, area.width - left, rest - upper);
        return panes;
    }
    let upper = share(rest, 57).clamp(12, 18);
    let left = if ponders && focus != Pane::Map { area.width } else { area.width / 2 };
    panes.lesson = Rect::new(area.x, top, left, upper);
    panes.map = Rect::new(area.x + left, top, area.width - left, upper);
    panes.shell = Rect::new(area.x, top + upper, area.width, rest - upper);
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
    fn at_80_by_24_the_shell_has_eight_lines() {
        let p = panes(Rect::new(0, 0, 80, 24), Pane::Shell, false, false);
        assert!(inside(p.shell).height >= 8, "{p:?}");
        assert_eq!((p.lesson.width, p.map.width), (40, 40));
        let asked = panes(Rect::new(0, 0, 80, 24), Pane::Shell, false, true);
        assert_eq!((asked.lesson.width, asked.map.width, asked.shell), (80, 0, p.shell));
    }
}

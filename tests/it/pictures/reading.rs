//! Reads a picture back, as a browser shows it.

use super::svg::{BASELINE, CELL, Frame, MARGIN};
use regex::Regex;
use std::collections::BTreeMap;

/// Text at a row and column, that many cells wide.
struct Text {
    row: usize,
    column: usize,
    cells: usize,
    text: String,
}

/// Text that appears and disappears together.
#[derive(Default)]
struct Group {
    /// From each per cent of the picture's time on: is it visible? Empty if it always is.
    stops: Vec<(f64, bool)>,
    /// Whether it is visible where nothing moves.
    stands_still: bool,
    texts: Vec<Text>,
}

impl Group {
    fn is_visible(&self, percent: f64) -> bool {
        self.stops.iter().rev().find(|(from, _)| *from <= percent).is_none_or(|(_, visible)| *visible)
    }
}

/// A picture, moving or still.
pub(super) struct Picture {
    /// How long it lasts; 0 for a still one.
    pub(super) seconds: f64,
    groups: Vec<Group>,
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("a number, not {text:?}"))
}

impl Picture {
    pub(super) fn read(picture: &str) -> Picture {
        let regex = |pattern: &str| Regex::new(pattern).expect("a pattern");
        let length = regex(r"animation:([\d.]+)s step-end infinite");
        let rule = regex(r"^@keyframes ([\w-]+)\{(.*)\}$");
        let stop = regex(r"([\d.]+)%\{visibility:(\w+)\}");
        let group = regex(r#"^<g class="(\w)" style="animation-name:([\w-]+)">$"#);
        let text = regex(r#"^<text x="(\d+)" y="(\d+)" textLength="(\d+)" [^>]*>(.*)</text>$"#);
        let mut rules: BTreeMap<String, Vec<(f64, bool)>> = BTreeMap::new();
        let mut groups = vec![Group { stands_still: true, ..Group::default() }];
        for line in picture.lines() {
            if let Some(found) = rule.captures(line) {
                let stops = stop.captures_iter(&found[2]).map(|s| (number(&s[1]), &s[2] == "visible"));
                rules.insert(found[1].to_string(), stops.collect());
            } else if let Some(found) = group.captures(line) {
                let stops = rules.get(&found[2]).unwrap_or_else(|| panic!("no rule {}", &found[2])).clone();
                groups.push(Group { stops, stands_still: &found[1] == "l", texts: vec![] });
            } else if line == "</g>" {
                groups.push(Group { stands_still: true, ..Group::default() });
            } else if let Some(found) = text.captures(line) {
                let (x, y): (usize, usize) = (number(&found[1]), number(&found[2]));
                let text = Text {
                    row: (y - BASELINE - MARGIN) / CELL.1,
                    column: (x - MARGIN) / CELL.0,
                    cells: number::<usize>(&found[3]) / CELL.0,
                    text: found[4].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"),
                };
                groups.last_mut().expect("a group").texts.push(text);
            }
        }
        Picture { seconds: length.captures(picture).map_or(0.0, |found| number(&found[1])), groups }
    }

    /// The lines of the text that these groups have.
    fn lines(&self, is_visible: impl Fn(&Group) -> bool) -> Vec<String> {
        let mut texts: Vec<&Text> =
            self.groups.iter().filter(|g| is_visible(g)).flat_map(|g| &g.texts).collect();
        texts.sort_by_key(|text| (text.row, text.column));
        let (mut lines, mut width): (Vec<String>, usize) = (vec![], 0);
        for text in texts {
            while lines.len() <= text.row {
                lines.push(String::new());
                width = 0;
            }
            let line = &mut lines[text.row];
            assert!(width <= text.column, "{:?} is drawn over {line:?}", text.text);
            line.push_str(&" ".repeat(text.column - width));
            line.push_str(&text.text);
            width = text.column + text.cells;
        }
        lines.iter().map(|line| line.trim_end().to_string()).collect()
    }

    /// What is seen after that share of its time.
    pub(super) fn at(&self, percent: f64) -> Vec<String> {
        self.lines(|group| group.is_visible(percent))
    }

    /// What is seen where nothing moves.
    pub(super) fn still(&self) -> Vec<String> {
        self.lines(|group| group.stands_still)
    }

    /// When something changes, in per cent of its time, ascending; it begins with 0.
    pub(super) fn changes(&self) -> Vec<f64> {
        let mut changes = vec![0.0];
        for group in &self.groups {
            assert!(group.stops.is_sorted_by(|a, b| a.0 < b.0), "the times ascend: {:?}", group.stops);
            assert!(group.stops.iter().all(|(at, _)| (0.0..100.0).contains(at)), "{:?}", group.stops);
            changes.extend(group.stops.iter().map(|(at, _)| *at));
        }
        changes.sort_by(f64::total_cmp);
        changes.dedup();
        changes
    }

    /// Asserts that it shows these frames, each for as long as it stood, and the last one where
    /// nothing moves.
    #[track_caller]
    pub(super) fn is_of(&self, frames: &[Frame]) {
        let trim = |mut lines: Vec<String>| {
            while lines.last().is_some_and(String::is_empty) {
                lines.pop();
            }
            lines
        };
        assert_eq!(self.changes().len(), frames.len(), "it changes at each frame, and at no other time");
        let ends = frames.iter().skip(1).map(|next| next.at.as_secs_f64()).chain([self.seconds]);
        for (frame, end) in frames.iter().zip(ends) {
            let middle = f64::midpoint(frame.at.as_secs_f64(), end) / self.seconds * 100.0;
            assert_eq!(trim(self.at(middle)), trim(frame.lines.clone()), "after {:?}", frame.at);
        }
        let last = frames.last().map(|last| last.lines.clone()).unwrap_or_default();
        assert_eq!(trim(self.still()), trim(last), "where nothing moves");
    }
}

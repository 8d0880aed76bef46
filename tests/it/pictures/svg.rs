//! Screens as an SVG: one screen is a still picture, several are a moving one.
//!
//! A moving picture has each run of text once for as long as it stands unchanged, and a keyframe
//! rule that says from when to when. It has no script, so it also moves inside an `<img>`, where
//! GitHub shows it. Readers who asked their system for less motion, and programs that know no
//! animations, see the last screen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;
use tui_term::vt100::{Color, Screen};

/// Size of a character cell in the picture, in its own units.
pub(super) const CELL: (usize, usize) = (8, 17);
/// The space around the screen, in the same units.
pub(super) const MARGIN: usize = 8;
/// From the upper edge of a cell to the line on which its letter stands.
pub(super) const BASELINE: usize = 13;
/// How long the last screen of a moving picture stays before the first one comes again.
pub(super) const HOLD: Duration = Duration::from_secs(5);

const BACKGROUND: &str = "#16181d";
const TEXT: &str = "#d7dae0";
/// The sixteen colours of a terminal. All but the first one are legible on the background, which
/// the picture brings along: pages around it may be light or dark.
const PALETTE: [&str; 16] = [
    "#3b4048", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#abb2bf", "#8b93a1",
    "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#ffffff",
];

fn colour(colour: Color, otherwise: &str) -> String {
    match colour {
        Color::Default => otherwise.into(),
        Color::Idx(n) => PALETTE.get(usize::from(n)).map_or(otherwise, |c| c).into(),
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
    }
}

/// How a cell looks: text colour, background, bold.
type Style = (String, String, bool);

/// A run of cells of one style.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    row: usize,
    column: usize,
    cells: usize,
    text: String,
    style: Style,
}

impl Run {
    /// Whether it differs from the empty background.
    fn is_seen(&self) -> bool {
        self.style.1 != BACKGROUND || !self.text.trim().is_empty()
    }
}

fn runs(screen: &Screen, row: u16) -> Vec<Run> {
    let mut runs: Vec<Run> = vec![];
    let columns = screen.size().1;
    let cursor = (!screen.hide_cursor()).then(|| screen.cursor_position());
    for column in 0..columns {
        let Some(cell) = screen.cell(row, column).filter(|c| !c.is_wide_continuation()) else { continue };
        let (mut fore, mut back) = (colour(cell.fgcolor(), TEXT), colour(cell.bgcolor(), BACKGROUND));
        if cell.inverse() != (cursor == Some((row, column))) {
            (fore, back) = (back, fore);
        }
        let (style, cells) = ((fore, back, cell.bold()), 1 + usize::from(cell.is_wide()));
        let text = if cell.has_contents() { cell.contents() } else { " " };
        // A gap ends a run, so that what follows it stands in its column even where the font is
        // none of a terminal's.
        let border = |text: &str| text.chars().all(|c| ('\u{2500}'..='\u{257f}').contains(&c));
        let gap = |run: &Run| {
            (run.text.ends_with("  ") && text != " ")
                || border(text) != run.text.chars().all(|c| border(&c.to_string()))
        };
        match runs.last_mut() {
            Some(run) if run.style == style && !gap(run) => {
                run.text.push_str(text);
                run.cells += cells;
            }
            _ => runs.push(Run { row: row.into(), column: column.into(), cells, text: text.into(), style }),
        }
    }
    runs
}

/// A screen, and when it is shown.
pub(super) struct Frame {
    /// Counted from the beginning of the picture.
    pub(super) at: Duration,
    /// The text of each row, as the terminal has it.
    pub(super) lines: Vec<String>,
    /// Rows and columns.
    size: (u16, u16),
    runs: BTreeSet<Run>,
}

impl Frame {
    pub(super) fn new(at: Duration, screen: &Screen) -> Frame {
        let (rows, columns) = screen.size();
        let runs = (0..rows).flat_map(|row| runs(screen, row)).filter(Run::is_seen).collect();
        let lines = screen.rows(0, columns).map(|line| line.trim_end().to_string()).collect();
        Frame { at, lines, size: (rows, columns), runs }
    }

    /// Whether both draw the same, whatever their times.
    pub(super) fn looks_like(&self, other: &Frame) -> bool {
        self.runs == other.runs
    }
}

/// The runs by the time for which they stand unchanged: the number of the frame in which they
/// appear, and of the first frame that no longer has them.
type Stays<'f> = BTreeMap<(usize, usize), Vec<&'f Run>>;

fn stays(frames: &[Frame]) -> Stays<'_> {
    let (mut stays, mut since) = (Stays::new(), BTreeMap::<&Run, usize>::new());
    for (number, frame) in frames.iter().enumerate() {
        since.retain(|run, from| {
            let goes_on = frame.runs.contains(*run);
            if !goes_on {
                stays.entry((*from, number)).or_default().push(*run);
            }
            goes_on
        });
        for run in &frame.runs {
            since.entry(run).or_insert(number);
        }
    }
    for (run, from) in since {
        stays.entry((from, frames.len())).or_default().push(run);
    }
    stays
}

/// The style of a moving picture. Without animations (`prefers-reduced-motion`) only `.l`, which
/// the last screen has, is visible.
fn motion(frames: &[Frame], stays: &Stays) -> String {
    let whole = frames.last().map_or(Duration::ZERO, |last| last.at) + HOLD;
    let mut out = format!(
        "<style>\n.m{{visibility:hidden}}\n@media (prefers-reduced-motion:no-preference)\
         {{.m,.l{{animation:{:.3}s step-end infinite}}}}\n",
        whole.as_secs_f64()
    );
    let percent = |frame: &Frame| frame.at.as_secs_f64() / whole.as_secs_f64() * 100.0;
    for (from, to) in stays.keys().filter(|(from, to)| *from > 0 || *to < frames.len()) {
        let _ = write!(out, "@keyframes f{from}-{to}{{");
        if *from > 0 {
            out.push_str("0%{visibility:hidden}");
        }
        let _ = write!(out, "{:.3}%{{visibility:visible}}", percent(&frames[*from]));
        if let Some(end) = frames.get(*to) {
            let _ = write!(out, "{:.3}%{{visibility:hidden}}", percent(end));
        }
        out.push_str("}\n");
    }
    out + "</style>\n"
}

/// Draws a run. It is stretched to its cells, so that borders meet whatever the font.
fn draw(out: &mut String, run: &Run) {
    let (x, top, length) = (MARGIN + run.column * CELL.0, MARGIN + run.row * CELL.1, run.cells * CELL.0);
    let (fore, back, bold) = &run.style;
    if back != BACKGROUND {
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{top}\" width=\"{length}\" height=\"{}\" fill=\"{back}\"/>",
            CELL.1
        );
    }
    if run.text.trim().is_empty() {
        return;
    }
    let text = run.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let weight = if *bold { " font-weight=\"bold\"" } else { "" };
    let _ = writeln!(
        out,
        "<text x=\"{x}\" y=\"{}\" textLength=\"{length}\" lengthAdjust=\"spacingAndGlyphs\" \
         fill=\"{fore}\"{weight} xml:space=\"preserve\">{text}</text>",
        top + BASELINE
    );
}

/// Draws the frames, which follow one another in time and are of one size, as one picture. A single
/// frame stands still.
pub(super) fn svg(frames: &[Frame], title: &str) -> String {
    let (rows, columns) = frames.first().map_or((0, 0), |first| first.size);
    let (width, height) =
        (usize::from(columns) * CELL.0 + 2 * MARGIN, usize::from(rows) * CELL.1 + 2 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         font-family=\"DejaVu Sans Mono, ui-monospace, Noto Sans Mono CJK KR, monospace\" font-size=\"13\">\n\
         <title>{title}</title>\n"
    );
    let stays = stays(frames);
    if frames.len() > 1 {
        out.push_str(&motion(frames, &stays));
    }
    let _ = writeln!(out, "<rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{BACKGROUND}\"/>");
    for ((from, to), runs) in &stays {
        let (is_last, always) = (*to == frames.len(), *from == 0 && *to == frames.len());
        if !always {
            let class = if is_last { 'l' } else { 'm' };
            let _ = writeln!(out, "<g class=\"{class}\" style=\"animation-name:f{from}-{to}\">");
        }
        for run in runs {
            draw(&mut out, run);
        }
        if !always {
            out.push_str("</g>\n");
        }
    }
    out + "</svg>\n"
}

/// How bright a colour `#rrggbb` is for the eye, from 0 to 1 (WCAG 2.2, relative luminance).
fn luminance(colour: &str) -> f64 {
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).expect("a colour")) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}

#[test]
fn every_colour_of_text_is_legible_on_the_background_of_the_picture() {
    for text in PALETTE[1..].iter().chain(&[TEXT]) {
        let contrast = (luminance(text) + 0.05) / (luminance(BACKGROUND) + 0.05);
        assert!(contrast >= 4.5, "{text} on {BACKGROUND}: a contrast of {contrast:.1}, below 4.5"); // WCAG's AA
    }
}

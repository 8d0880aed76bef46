//! The pictures of README and book: screens of the real interface, drawn while a lesson is played.
//!
//! `scripts/pictures` writes them anew; the test draws the same ones and looks whether they say
//! what they should.

use super::session::{Session, nothing_is_left};
use super::support::{Home, capable, turn};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use tui_term::vt100::{Color, Screen};

/// Size of a character cell in the picture, in its own units.
const CELL: (usize, usize) = (8, 17);
const BACKGROUND: &str = "#16181d";
const TEXT: &str = "#d7dae0";
/// The sixteen colours of a terminal.
const PALETTE: [&str; 16] = [
    "#3b4048", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#abb2bf", "#5c6370",
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
struct Run {
    column: usize,
    cells: usize,
    text: String,
    style: Style,
}

fn runs(screen: &Screen, row: u16) -> Vec<Run> {
    let mut runs: Vec<Run> = vec![];
    let columns = screen.size().1;
    for column in 0..columns {
        let Some(cell) = screen.cell(row, column).filter(|c| !c.is_wide_continuation()) else { continue };
        let (mut fore, mut back) = (colour(cell.fgcolor(), TEXT), colour(cell.bgcolor(), BACKGROUND));
        if cell.inverse() {
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
            _ => runs.push(Run { column: column.into(), cells, text: text.into(), style }),
        }
    }
    runs
}

/// A screen as a picture. Every run is stretched to its cells, so that borders meet whatever the
/// font.
fn svg(screen: &Screen, title: &str) -> String {
    let (rows, columns) = screen.size();
    let (width, height) = (usize::from(columns) * CELL.0 + 16, usize::from(rows) * CELL.1 + 16);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         font-family=\"DejaVu Sans Mono, ui-monospace, Noto Sans Mono CJK KR, monospace\" font-size=\"13\">\n\
         <title>{title}</title>\n<rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{BACKGROUND}\"/>\n"
    );
    for row in 0..rows {
        let top = 8 + usize::from(row) * CELL.1;
        for run in runs(screen, row) {
            let (x, length) = (8 + run.column * CELL.0, run.cells * CELL.0);
            let (fore, back, bold) = &run.style;
            if back != BACKGROUND {
                let _ = writeln!(
                    out,
                    "<rect x=\"{x}\" y=\"{top}\" width=\"{length}\" height=\"{}\" fill=\"{back}\"/>",
                    CELL.1
                );
            }
            if run.text.trim().is_empty() {
                continue;
            }
            let text = run.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let weight = if *bold { " font-weight=\"bold\"" } else { "" };
            let _ = writeln!(
                out,
                "<text x=\"{x}\" y=\"{}\" textLength=\"{length}\" lengthAdjust=\"spacingAndGlyphs\" \
                 fill=\"{fore}\"{weight} xml:space=\"preserve\">{text}</text>",
                top + 13
            );
        }
    }
    out + "</svg>\n"
}

/// Draws the screen as soon as it shows all of this; with `ROPEWALK_PICTURES=1` into the book, else
/// into `scratch`.
fn draw(session: &Session, scratch: &Path, name: &str, title: &str, shows: &[&str]) {
    let picture = RefCell::new(String::new());
    session.until(name, |screen, text| {
        let there = shows.iter().all(|part| text.contains(part));
        if there {
            picture.replace(svg(screen, title));
        }
        there
    });
    let picture = picture.into_inner();
    assert!(picture.matches("<text").count() > 20, "an empty picture: {name}");
    let into = match std::env::var_os("ROPEWALK_PICTURES").is_some_and(|v| v == "1") {
        true => Path::new(env!("CARGO_MANIFEST_DIR")).join("book/src/pictures"),
        false => PathBuf::from(scratch),
    };
    std::fs::create_dir_all(&into).expect("a directory");
    std::fs::write(into.join(format!("{name}.svg")), picture).expect("a picture");
}

#[test]
fn pictures_are_of_the_real_interface() {
    let _turn = turn();
    if !capable() {
        return;
    }
    let home = Home::new();
    let scratch = home.path().join("pictures");
    let session =
        Session::start(&home, &["learn", "first-voyage/04", "--name", "t", "--lang", "en"], 120, 34);
    let asks = ["04 Run a pod", "Guess first", "ropewalk>"];
    draw(&session, &scratch, "predict", "A lesson asks before it lets you do", &asks);
    session.press("b\r");
    session.until("the guess is taken", |_, t| !t.contains("Guess first"));
    session.press("kubectl run nginx-pod --image=nginx\r");
    let lit = ["pod/nginx-pod created", "map: control plane", "Done. next", "done after"];
    draw(&session, &scratch, "control-plane", "A request on its way through the control plane", &lit);
    session.press("map cluster\r");
    draw(&session, &scratch, "cluster", "The cluster, live", &["map: cluster", "● nginx-pod"]);
    session.press("lang ko\r");
    draw(&session, &scratch, "korean", "같은 강의, 한국어", &["파드 실행하기", "그림: 클러스터"]);
    session.press("quit\r");
    assert_eq!(session.end(), 0);
    nothing_is_left(&home);
    let readme =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("README");
    for line in readme.lines().filter_map(|l| l.split("](book/src/pictures/").nth(1)) {
        let name = line.split(')').next().unwrap_or_default();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("book/src/pictures").join(name);
        assert!(path.exists(), "README shows {name}, which is not there");
    }
}

//! The pictures of README and book: screens of the real interface, drawn while a lesson is played,
//! and a moving one of the same session.
//!
//! `scripts/pictures` writes them anew; the test draws the same ones and looks whether they say
//! what they should.

mod frames;
mod reading;
mod svg;

use super::session::{Session, nothing_is_left};
use super::support::{Home, capable, turn};
use frames::{LARGEST, moving};
use reading::Picture;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;
use svg::{Frame, svg};

/// Between two keys that are typed.
const KEY: Duration = Duration::from_millis(55);
/// So long the session waits where those who watch the moving picture read.
const READ: Duration = Duration::from_millis(2500);
/// Seconds of the moving picture.
const SECONDS: std::ops::RangeInclusive<f64> = 20.0..=30.0;
/// What the moving picture shows, in this order.
const STORY: [&str; 8] = [
    "Guess first",
    "You said b",
    "ropewalk> kubectl run nginx-pod --image=nginx",
    "pod/nginx-pod created",
    "bound worker",
    "Done. next",
    "done after",
    "● nginx-pod",
];

/// Puts a picture into the book with `ROPEWALK_PICTURES=1`, else into `scratch`.
fn keep(scratch: &Path, name: &str, picture: &str) {
    let into = match std::env::var_os("ROPEWALK_PICTURES").is_some_and(|v| v == "1") {
        true => book(),
        false => PathBuf::from(scratch),
    };
    std::fs::create_dir_all(&into).expect("a directory");
    std::fs::write(into.join(format!("{name}.svg")), picture).expect("a picture");
}

/// The folder of the pictures in the book.
fn book() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("book/src/pictures")
}

/// Draws the screen as soon as it shows all of this.
fn draw(session: &Session, scratch: &Path, name: &str, title: &str, shows: &[&str]) {
    let picture = RefCell::new(String::new());
    session.until(name, |screen, text| {
        let there = shows.iter().all(|part| text.contains(part));
        if there {
            picture.replace(svg(&[Frame::new(Duration::ZERO, screen)], title));
        }
        there
    });
    let picture = picture.into_inner();
    assert!(picture.matches("<text").count() > 20, "an empty picture: {name}");
    keep(scratch, name, &picture);
}

/// Types a line as a person does, so that it is seen.
fn types(session: &Session, line: &str) {
    for key in line.chars() {
        session.press(&key.to_string());
        std::thread::sleep(KEY);
    }
    session.press("\r");
}

/// Asserts that a moving picture tells the story, and that a page on GitHub can show it.
fn tells_the_story(picture: &str) {
    assert!(picture.len() <= LARGEST, "{} bytes, at most {LARGEST}", picture.len());
    for outside in ["<script", "<image", "<foreignObject", "href=", "url(", "@import"] {
        assert!(!picture.contains(outside), "an image in a page may not have {outside}");
    }
    assert!(
        picture.contains("@media (prefers-reduced-motion:no-preference)"),
        "it also moves where less motion is asked for"
    );
    let seen = Picture::read(picture);
    assert!(SECONDS.contains(&seen.seconds), "{} s", seen.seconds);
    let frames: Vec<String> = seen.changes().iter().map(|at| seen.at(*at).join("\n")).collect();
    assert!(frames.len() > 30, "only {} frames", frames.len());
    let mut from = 0;
    for part in STORY {
        let later = frames[from..].iter().position(|frame| frame.contains(part));
        from += later.unwrap_or_else(|| panic!("{part:?} is not seen after frame {from}"));
    }
    assert!(frames[0].contains(STORY[0]) && !frames[0].contains(STORY[1]), "{}", frames[0]);
    let still = seen.still().join("\n");
    assert!(still.contains("map: cluster") && still.contains("● nginx-pod"), "{still}");
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
    let begins = session.elapsed();
    std::thread::sleep(READ);
    types(&session, "b");
    session.until("the guess is taken", |_, t| !t.contains("Guess first"));
    std::thread::sleep(READ);
    types(&session, "kubectl run nginx-pod --image=nginx");
    let lit = ["pod/nginx-pod created", "map: control plane", "Done. next", "done after"];
    draw(&session, &scratch, "control-plane", "A request on its way through the control plane", &lit);
    std::thread::sleep(READ);
    types(&session, "map cluster");
    draw(&session, &scratch, "cluster", "The cluster, live", &["map: cluster", "● nginx-pod"]);
    std::thread::sleep(READ / 2); // the prompt comes back
    let title = "A pod is started: the request goes through the control plane, the step is done";
    let (frames, picture) = moving(&session.recording(), begins, title);
    Picture::read(&picture).is_of(&frames);
    tells_the_story(&picture);
    keep(&scratch, "motion", &picture);
    session.press("lang ko\r");
    draw(&session, &scratch, "korean", "같은 강의, 한국어", &["파드 실행하기", "그림: 클러스터"]);
    session.press("quit\r");
    assert_eq!(session.end(), 0);
    nothing_is_left(&home);
    let readme =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("README");
    for line in readme.lines().filter_map(|l| l.split("](book/src/pictures/").nth(1)) {
        let name = line.split(')').next().unwrap_or_default();
        assert!(book().join(name).exists(), "README shows {name}, which is not there");
    }
    assert!(readme.contains("](book/src/pictures/motion.svg)"), "README shows the interface in motion");
    tells_the_story(&std::fs::read_to_string(book().join("motion.svg")).expect("the moving picture"));
}

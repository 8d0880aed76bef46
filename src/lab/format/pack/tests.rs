use super::*;
use crate::format::Library;
use crate::format::library::write_alone;
use crate::graded::read::Labs;

const ABOUT: &str = "title: {en: Harbour school, ko: 항구 학교}\nauthors: [Kim, Lee]\nversion: '1.2'\n\
    tracks:\n  harbour: {en: The harbour, ko: 항구}\n";

fn lesson(id: &str, order: u32, title: &str) -> String {
    let track = id.split('/').next().unwrap();
    format!(
        "---\nid: {id}\ntitle: {title}\ntrack: {track}\norder: {order}\nsteps:\n  - id: make\n    task: Make it.\n    \
        check: 'present(\"ConfigMap\", \"default\", \"hello\")'\n    solution: [\"kubectl create configmap hello\"]\n    \
        debrief: [stored]\n---\n# {title}\n\n## Make it {{#make}}\n\nMake it.\n"
    )
}

/// A pack with these files, below a folder of packs.
fn with(packs: &Path, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = packs.join(name);
    for (file, text) in files {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn told(library: &Library) -> Vec<String> {
    library.faults.iter().map(ToString::to_string).collect()
}

#[test]
fn a_pack_stands_beside_the_built_in_lessons() {
    let packs = tempfile::tempdir().unwrap();
    let text = lesson("harbour/01", 1, "Config");
    let folder = with(packs.path(), "school", &[(FILE, ABOUT), ("harbour/01-config/lesson.md", &text)]);
    std::fs::create_dir(packs.path().join(".hidden")).unwrap();
    assert_eq!(folders_in(packs.path()), [folder]);
    let (library, built_in) = (Library::with_packs(folders_in(packs.path()), None), Library::built_in());
    assert_eq!(told(&library), Vec::<String>::new(), "it may use the built-in beat `stored`");
    assert_eq!(library.lessons.len(), built_in.lessons.len() + 1);
    assert_eq!(library.lessons.last().map(|l| l.id.as_str()), Some("harbour/01"));
    assert_eq!((library.beats.len(), library.terms.iter().count()), {
        (built_in.beats.len(), built_in.terms.iter().count())
    });
    let pack = library.pack_of("harbour/01").unwrap();
    assert_eq!((pack.title.get("ko"), pack.version.as_str()), ("항구 학교", "1.2"));
    assert_eq!(
        (pack.authors.join(", ").as_str(), pack.tracks["harbour"].get("en")),
        ("Kim, Lee", "The harbour")
    );
    assert!(library.pack_of("first-voyage/04").is_none());
    assert!(library.find("4", None).is_some_and(|lesson| lesson.id == "first-voyage/04"));
    // Without the built-in ones its beat is not there.
    let alone = Library::read(&packs.path().join("school"));
    assert_eq!((alone.lessons.len(), alone.packs.len()), (1, 1));
    assert!(told(&alone)[0].contains("there is no beat \"stored\""), "{:?}", told(&alone));
}

#[test]
fn a_term_of_a_pack_that_is_read_alone_may_name_a_built_in_lesson() {
    let packs = tempfile::tempdir().unwrap();
    let term = |lesson: &str| format!("berth: {{name: berth, say: A place., lesson: {lesson}}}\n");
    let read = |lesson: &str| {
        let term = term(lesson);
        let files = [("_terms.yaml", term.as_str()), ("_terms.ko.yaml", "berth: {name: 선석, say: 자리.}\n")];
        told(&Library::read(&with(packs.path(), "school", &files)))
    };
    assert_eq!(read("first-voyage/04"), Vec::<String>::new());
    assert!(read("first-voyage/99")[0].contains("there is no lesson \"first-voyage/99\""));
}

#[test]
fn a_lesson_of_a_pack_may_lead_to_a_lab_of_the_pack() {
    let (packs, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let text = lesson("harbour/01", 1, "Config").replacen("steps:", "then: {lab: mine}\nsteps:", 1);
    let files =
        [(FILE, ABOUT), ("harbour/01-config/lesson.md", text.as_str()), ("labs/mine/lab.md", "---\n---\n")];
    let folder = with(packs.path(), "school", &files);
    let read = || Library::with_packs(vec![folder.clone()], None);
    assert_eq!(told(&read()), Vec::<String>::new());
    // So may one that is copied alone.
    write_alone(read().get("harbour/01").unwrap(), Some(&folder), place.path()).unwrap();
    assert_eq!(told(&Library::read(place.path())), Vec::<String>::new());
    std::fs::remove_file(folder.join("labs/mine/lab.md")).unwrap();
    assert!(told(&read())[0].contains("there is no lab \"mine\""));
}

#[test]
fn what_stands_twice_is_told_with_both_files_and_the_first_stays() {
    let packs = tempfile::tempdir().unwrap();
    let mine = lesson("first-voyage/04", 4, "Mine");
    let folder = with(
        packs.path(),
        "school",
        &[
            ("first-voyage/04-mine/lesson.md", &mine),
            ("_beats.yaml", "own:\n  say: Own.\nstored:\n  say: Mine.\n"),
            ("_beats.ko.yaml", "own: 내 것.\nstored: 내 것.\n"),
            (
                "_terms.yaml",
                "vessel: {name: vessel, say: Mine.}\nmine: {name: mine, also: [pod], say: Mine.}\n",
            ),
            ("_terms.ko.yaml", "vessel: {name: 내배, say: 내 것.}\nmine: {name: 내것, say: 내 것.}\n"),
        ],
    );
    let (library, built_in) = (Library::with_packs(vec![folder.clone()], None), Library::built_in());
    let told = told(&library).join("\n");
    let at = |file: &str, line: usize| format!("{}:{line}: ", folder.join(file).display());
    let first = built_in.get("first-voyage/04").unwrap();
    let lesson = at("first-voyage/04-mine/lesson.md", 2) + "the lesson \"first-voyage/04\" is already in ";
    assert!(told.contains(&(lesson + &first.file.display().to_string())), "{told}");
    let beat = at("_beats.yaml", 3) + "the beat \"stored\" is already in lessons/";
    assert!(told.contains(&beat), "{told}");
    let term = at("_terms.yaml", 2) + "mine: \"pod\" is a word for pod too, in lessons/_terms.yaml:";
    assert!(told.contains(&term), "{told}");
    assert_eq!(library.faults.len(), 3, "{told}");
    let title = |library: &Library| library.get("first-voyage/04").map(|l| l.title.get("en").to_string());
    assert_eq!(title(&library), title(&built_in));
    assert_eq!(library.terms.find("pod").unwrap().say, built_in.terms.find("pod").unwrap().say);
    assert!(library.beats.contains_key("own") && library.terms.get("mine").is_none());
    assert!(library.terms.find("vessel").is_some());
}

#[test]
fn a_bad_pack_is_refused_and_the_others_stay() {
    let (packs, built_in) = (tempfile::tempdir().unwrap(), Library::built_in().lessons.len());
    let text = lesson("harbour/01", 1, "Config");
    for (about, line, what) in [
        ("title: {en: A}\nversion: '1'\n", 1, "missing field `authors`"),
        ("title: {en: A}\nauthors: [K]\nversion: '1'\nautor: K\n", 4, "unknown key \"autor\""),
        ("title: {ko: 가}\nauthors: [K]\nversion: '1'\n", 1, "in English, too"),
        ("authors: [K]\nversion: '1'\ntitle: {en: A, de: A}\n", 3, "none of the languages en, ko"),
        ("title: {en: A}\nauthors: []\nversion: '1'\n", 2, "name one to"),
        ("title: {en: A}\nauthors: [K]\nversion: ''\n", 3, "a line of at most"),
        ("title: {en: \"a\\e[31m\"}\nauthors: [K]\nversion: '1'\n", 1, "U+001B"),
        ("title: {en: A}\nauthors: [\"K\u{202e}\"]\nversion: '1'\n", 2, "U+202E"),
    ] {
        let files = [(FILE, about), ("harbour/01-config/lesson.md", text.as_str())];
        let folder = with(packs.path(), "bad", &files);
        let library = Library::with_packs(vec![folder.clone()], None);
        let told = told(&library);
        let place = format!("{}:{line}: ", folder.join(FILE).display());
        assert!(told.len() == 1 && told[0].starts_with(&place) && told[0].contains(what), "{told:?}");
        assert_eq!((library.lessons.len(), library.packs.len()), (built_in, 0), "{about}");
    }
    let nothing = Library::with_packs(vec![], Some(&packs.path().join("none")));
    assert!(told(&nothing)[0].contains("cannot be looked into") && nothing.lessons.len() == built_in);
}

#[test]
fn nothing_that_a_terminal_obeys_comes_from_a_pack() {
    let packs = tempfile::tempdir().unwrap();
    let raw = lesson("harbour/01", 1, "Config")
        .replace("Make it.\n    check", "Make \u{1b}]52;c;eA==\u{7} it.\n    check");
    let escaped = lesson("harbour/02", 2, "\"a\\x1b[2J\"");
    let sound = lesson("harbour/03", 3, "\"a\\tb\"");
    let files = [("harbour/01-a/lesson.md", raw.as_str()), ("harbour/02-b/lesson.md", &escaped)];
    let folder = with(packs.path(), "school", &files);
    with(packs.path(), "school", &[("harbour/03-c/lesson.md", &sound), ("harbour/\u{1b}c.md", "")]);
    let library = Library::with_packs(vec![folder], None);
    let told = told(&library);
    assert!(told.iter().any(|t| t.contains("01-a/lesson.md:8: the character U+001B")), "{told:?}");
    assert!(told.iter().any(|t| t.contains("02-b/lesson.md:3: the character U+001B")), "{told:?}");
    assert!(told.iter().any(|t| t.contains("the name \"\\u{1b}c.md\"")), "{told:?}");
    assert!(told.len() == 3 && !told.concat().contains('\u{1b}'), "{told:?}");
    let own: Vec<&str> =
        library.lessons.iter().map(|l| l.id.as_str()).filter(|id| id.starts_with("harbour")).collect();
    assert_eq!(own, ["harbour/03"]);
    // Read alone it is no less a stranger's.
    let alone = Library::read(&packs.path().join("school"));
    assert!(alone.lessons.len() == 1 && alone.lessons[0].id == "harbour/03", "{:?}", alone.faults);
    let lab = include_str!("../../../../labs/broken-selector/lab.md");
    let lab = lab.replacen("id: broken-selector", "id: broken-selector # \u{9b}2J", 1);
    let labs = with(packs.path(), "labs", &[("broken-selector/lab.md", &lab)]);
    let labs = Labs::read(&labs);
    assert!(labs.labs.is_empty() && labs.faults[0].what.contains("U+009B"), "{:?}", labs.faults);
}

#[test]
fn an_escape_is_told_on_its_own_line() {
    for (escape, c) in [
        ("\\e", "001B"),
        ("\\x1b", "001B"),
        ("\\u001B", "001B"),
        ("\\U0000001b", "001B"),
        ("\\N", "0085"),
        ("\\u202e", "202E"),
    ] {
        let text = format!("a: \"x\\ty\"\nb: \"C:\\\\e\\n\"\nc: \"{escape}[2J\"\n");
        let told = harmful_places(Path::new("a.yaml"), &text);
        assert!(told.len() == 1 && told[0].line == 3 && told[0].what.contains(c), "{escape}: {told:?}");
    }
}

/// A file of sixty kilobytes, of which a reader would make gigabytes or work for minutes.
#[test]
fn no_file_of_a_pack_costs_more_than_its_length() {
    let packs = tempfile::tempdir().unwrap();
    let many = |what: &str| what.repeat(12_000);
    let multiplied = format!("a: &a [{}]\n  b: [{}]", many("x,"), many("*a,"));
    let lesson = |define: &str| {
        let sound = lesson("harbour/01", 1, "\"a\\tb\"");
        sound.replacen("steps:", &format!("define:\n  {define}\nsteps:"), 1)
    };
    let (aliases, deep) = (lesson(&multiplied), lesson(&format!("a: {}", many("[{a: "))));
    let elsewhere = format!("- &a {}\n{}", many("long"), many("- *a\n"));
    let beats = format!("stored: {}\n", many("["));
    let files = [
        ("harbour/01-a/lesson.md", aliases.as_str()),
        ("harbour/02-b/lesson.md", &deep),
        ("_elsewhere.yaml", &elsewhere),
        ("_beats.yaml", &beats),
    ];
    let folder = with(packs.path(), "school", &files);
    let library = Library::with_packs(vec![folder], None);
    let told = told(&library);
    assert_eq!(told.iter().filter(|told| told.contains("aliases multiply")).count(), 2, "{told:?}");
    assert_eq!(told.iter().filter(|told| told.contains("nests deeper")).count(), 2, "{told:?}");
    assert_eq!(library.lessons.len(), Library::built_in().lessons.len());
}

#[test]
fn nothing_is_read_from_outside_of_a_pack() {
    let packs = tempfile::tempdir().unwrap();
    let outside = with(packs.path(), "outside", &[("lesson.md", &lesson("harbour/01", 1, "Config"))]);
    let text = lesson("harbour/02", 2, "Inside");
    let folder = with(packs.path(), "school", &[("harbour/02-inside/lesson.md", &text)]);
    std::os::unix::fs::symlink(&outside, folder.join("harbour/01-config")).unwrap();
    std::fs::create_dir(folder.join("harbour/04-file")).unwrap();
    std::os::unix::fs::symlink(outside.join("lesson.md"), folder.join("harbour/04-file/lesson.md")).unwrap();
    let (files, faults) = files_in(&folder);
    assert_eq!(files.keys().collect::<Vec<_>>(), [&folder.join("harbour/02-inside/lesson.md")]);
    assert!(faults.len() == 2 && faults.iter().all(|f| f.what.contains("leads out")), "{faults:?}");
    let lab = include_str!("../../../../labs/broken-selector/lab.md");
    let lab = lab.replacen("id: broken-selector", "id: my-selector", 1);
    let outside = with(packs.path(), "other", &[("my-selector/lab.md", &lab)]);
    std::os::unix::fs::symlink(&outside, folder.join("labs")).unwrap();
    let labs = Labs::with_packs(&[folder]);
    assert!(labs.get("my-selector").is_none() && labs.faults[0].what.contains("leads out"));
}

#[test]
fn a_pack_has_a_size() {
    let packs = tempfile::tempdir().unwrap();
    let folder = with(packs.path(), "many", &[(FILE, ABOUT)]);
    for at in 0..FILES_MAX + 5 {
        std::fs::write(folder.join(format!("{at}.md")), "").unwrap();
    }
    let (files, faults) = files_in(&folder);
    assert!(
        files.len() <= FILES_MAX && faults.len() == 1 && faults[0].what.contains("more than"),
        "{faults:?}"
    );
    let folder = with(packs.path(), "kept", &[(FILE, ABOUT), (".git/config.yaml", "a: b")]);
    for at in 0..FILES_MAX + 5 {
        std::fs::write(folder.join(format!(".git/{at}")), "").unwrap();
    }
    let (files, faults) = files_in(&folder);
    assert_eq!((files.into_keys().collect::<Vec<_>>(), faults), (vec![folder.join(FILE)], vec![]));
    let folder = with(packs.path(), "long", &[]);
    std::fs::create_dir(&folder).unwrap();
    for at in 0..=BYTES_MAX >> 20 {
        std::fs::write(folder.join(format!("{at:03}.md")), vec![b' '; 1 << 20]).unwrap();
    }
    let (files, faults) = files_in(&folder);
    assert_eq!(files.len(), BYTES_MAX >> 20);
    assert!(faults.len() == 1 && faults[0].what.contains("all files together"), "{faults:?}");
}

#[test]
fn labs_of_a_pack_stand_beside_the_built_in_ones() {
    let packs = tempfile::tempdir().unwrap();
    let (there, built_in) = (include_str!("../../../../labs/broken-selector/lab.md"), Labs::built_in());
    let mine = there.replacen("id: broken-selector", "id: my-selector", 1);
    let files = [("labs/my-selector/lab.md", mine.as_str()), ("labs/broken-selector/lab.md", there)];
    let folder = with(packs.path(), "school", &files);
    let labs = Labs::with_packs(std::slice::from_ref(&folder));
    assert_eq!(labs.labs.len(), built_in.labs.len() + 1);
    assert_eq!(labs.source(labs.get("my-selector").unwrap()), folder.join("labs").display().to_string());
    assert_eq!(labs.source(labs.get("broken-selector").unwrap()), "built-in");
    let told: Vec<String> = labs.faults.iter().map(ToString::to_string).collect();
    assert!(
        told.len() == 1 && told[0].contains("the lab \"broken-selector\" is already in labs/"),
        "{told:?}"
    );
    assert_eq!(Library::with_packs(vec![], Some(&folder)).faults, [], "a pack may have labs alone");
}

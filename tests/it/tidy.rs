//! The project's own rules, as tests: what a formatter, Cargo and clippy do not look at. A rule
//! that the code does not keep everywhere yet has an allowance per file in `tidy.list`, which may
//! only shrink: a file that breaks a rule more often than it is allowed to is an error, and so is
//! an allowance that is larger than what it is needed for. `ROPEWALK_TIDY=write cargo test --test
//! it tidy` lowers the allowances.

use crate::floors::files;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Columns of a comment.
const COMMENT_WIDTH: usize = 100;
/// Lines of a function, its signature and its last brace included.
const FUNCTION_LINES: usize = 70;
/// Lines of a file.
const FILE_LINES: usize = 500;

/// Metaphors that once were names. The plain word stands behind each. (`seat` is none: flow control
/// upstream counts requests in seats.)
const METAPHORS: &[(&str, &str)] = &[
    ("arena", "proof cluster"),
    ("desk", "lab run"),
    ("keeper", "supervisor, owner"),
    ("abroad", "foreign cluster"),
    ("trouble", "error"),
    ("doors", "listeners, servers"),
    ("beats", "heartbeats"),
    ("crowd", "watchers, requests in flight"),
    ("tidings", "events"),
];

/// Words that name nobody. In a comment the actor has a name: the client, the watcher, the kubelet.
const PUZZLES: &[&str] = &["whoever", "somebody", "or again"];

struct Rule {
    name: &'static str,
    /// What to do about it.
    remedy: &'static str,
    /// The lines that break it, counted from 1, each with what is wrong.
    find: fn(&Source) -> Vec<(usize, String)>,
}

const RULES: &[Rule] = &[
    Rule { name: "comment-width", remedy: "wrap comments at 100 columns", find: wide_comments },
    Rule { name: "function-length", remedy: "split the function at its steps", find: long_functions },
    Rule { name: "file-length", remedy: "move a part of the file to a file of its own", find: long_files },
    Rule {
        name: "undocumented",
        remedy: "say what the public item is, with shapes and units",
        find: undocumented,
    },
    Rule { name: "errors-undocumented", remedy: "add a section `# Errors`", find: undocumented_errors },
    Rule { name: "metaphor", remedy: "use the plain word", find: metaphors },
    Rule { name: "puzzle", remedy: "name the actor", find: puzzles },
    Rule {
        name: "bare-spawn",
        remedy: "spawn in a `task::Crew` or a `JoinSet`, which end what they began",
        find: |source| code_with(source, &["tokio::spawn(", "std::thread::spawn("]),
    },
    Rule {
        name: "unbounded-channel",
        remedy: "a bounded channel; say what happens when it is full",
        find: |source| code_with(source, &["unbounded_channel", "mpsc::unbounded"]),
    },
    Rule {
        name: "tokio-time",
        remedy: "take the time from the room clock, which simulations and lessons steer",
        find: tokio_time,
    },
    Rule {
        name: "module-style",
        remedy: "a module with parts of its own is a folder with a `mod.rs`",
        find: parts_of_plain_files,
    },
    Rule {
        name: "test-layout",
        remedy: "unit tests stand in `mod tests` at the foot of their file, or in `tests` of the folder",
        find: scattered_tests,
    },
];

/// A file of Rust.
struct Source {
    /// From the project's root.
    name: String,
    lines: Vec<String>,
    /// From this line on, counted from 0, only tests.
    tests_from: usize,
}

impl Source {
    fn new(name: &str, text: &str) -> Source {
        let lines: Vec<String> = text.lines().map(String::from).collect();
        let stem = name.rsplit('/').next().unwrap_or(name).trim_end_matches(".rs");
        let all_tests = name.starts_with("tests/")
            || stem == "tests"
            || stem.ends_with("_tests")
            || stem == "testing"
            || ["/sim/", "/tests/", "/simulated/", "_tests/"].iter().any(|dir| name.contains(dir));
        let module = |at: &usize| {
            lines[*at].starts_with("#[cfg(test)]")
                && lines.get(at + 1).is_some_and(|l| l.contains("mod ") && l.ends_with('{'))
        };
        let tests_from = match all_tests {
            true => 0,
            false => (0..lines.len()).find(module).unwrap_or(lines.len()),
        };
        Source { name: name.to_string(), lines, tests_from }
    }

    /// The program's own lines, with their numbers from 0.
    fn code(&self) -> impl Iterator<Item = (usize, &String)> {
        self.lines.iter().enumerate().take(self.tests_from)
    }
}

/// A line without its comment, and its comment. A `//` within a string (an address) belongs to the
/// code.
fn parts(line: &str) -> (&str, Option<&str>) {
    let from = line.match_indices("//").find(|(at, _)| {
        let before = &line[..*at];
        before.matches('"').count().is_multiple_of(2) && !before.ends_with(':')
    });
    match from {
        Some((at, _)) => (&line[..at], Some(&line[at..])),
        None => (line, None),
    }
}

/// Modules with a file of their own that a file declares which is no root of its folder.
fn parts_of_plain_files(source: &Source) -> Vec<(usize, String)> {
    let file = source.name.rsplit('/').next().unwrap_or(&source.name);
    // Each bench is a crate, and its file the root of one.
    if ["mod.rs", "lib.rs", "main.rs"].contains(&file) || source.name.starts_with("benches/") {
        return Vec::new();
    }
    let declared = |line: &str| {
        let (before, after) = line.trim_start().split_once("mod ")?;
        let name = after.strip_suffix(';')?;
        let is_item = before.is_empty() || before.starts_with("pub");
        (is_item && name.chars().all(|c| c.is_alphanumeric() || c == '_')).then(|| name.to_string())
    };
    let lines = source.lines.iter().enumerate();
    lines.filter_map(|(at, line)| Some((at, declared(line)?))).collect()
}

/// Unit tests that stand elsewhere than at the foot of their file, or in `tests.rs` or `tests/` of
/// the module's folder: files and modules with names of their own, and code behind `mod tests`.
fn scattered_tests(source: &Source) -> Vec<(usize, String)> {
    let file = source.name.rsplit('/').next().unwrap_or(&source.name);
    let mut found = Vec::new();
    if file.ends_with("_tests.rs") {
        found.push((0, "a file of tests is called `tests.rs`, or lies in `tests/`".to_string()));
    }
    for (at, line) in source.lines.iter().enumerate() {
        let Some(rest) = line.strip_prefix("mod ") else { continue };
        let Some(name) = rest.strip_suffix(" {") else { continue };
        if name.ends_with("_tests") {
            found.push((at, format!("`{name}`: say `tests`")));
        }
        let is_last = at + length(&source.lines, at) == source.lines.len();
        if name == "tests" && !is_last {
            found.push((at, "there is code behind the tests".to_string()));
        }
    }
    found
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

fn wide_comments(source: &Source) -> Vec<(usize, String)> {
    let wide = |line: &&String| {
        let text = line.trim_start();
        // An address or a drawing cannot be wrapped.
        text.starts_with("//")
            && line.chars().count() > COMMENT_WIDTH
            && !text.contains("://")
            && !text.contains('|')
    };
    let lines = source.lines.iter().enumerate();
    lines.filter(|(_, l)| wide(l)).map(|(at, l)| (at, format!("{} columns", l.chars().count()))).collect()
}

/// The name of the function that begins in this line.
fn function(line: &str) -> Option<&str> {
    let (code, _) = parts(line);
    let (before, after) = code.split_once("fn ")?;
    let modifiers = before.split_whitespace().all(|word| {
        word.starts_with("pub")
            || ["const", "async", "unsafe", "extern", "\"C\"", "in", "super)", "crate)"].contains(&word)
    });
    let name = after.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    (modifiers && !name.is_empty()).then_some(name)
}

/// How many lines the function has that begins in line `at`: rustfmt puts its last brace under its
/// first letter.
fn length(lines: &[String], at: usize) -> usize {
    let indent = lines[at].len() - lines[at].trim_start().len();
    let last = format!("{}}}", " ".repeat(indent));
    let mut upto = at;
    for line in &lines[at..] {
        upto += 1;
        let ends = line.trim_end();
        if *line == last || (upto == at + 1 && (ends.ends_with(';') || ends.ends_with('}'))) {
            break;
        }
        // The signature of a trait's function goes over several lines and ends with `) -> T;`.
        if upto > at + 1 && line.starts_with(&format!("{})", " ".repeat(indent))) && ends.ends_with(';') {
            break;
        }
    }
    upto - at
}

fn long_functions(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in source.lines.iter().enumerate() {
        if let Some(name) = function(line) {
            let lines = length(&source.lines, at);
            if lines > FUNCTION_LINES {
                found.push((at, format!("{name}: {lines} lines")));
            }
        }
    }
    found
}

fn long_files(source: &Source) -> Vec<(usize, String)> {
    match source.lines.len() {
        lines if lines > FILE_LINES => vec![(0, format!("{lines} lines"))],
        _ => Vec::new(),
    }
}

/// The documentation above line `at`, and the line with which it or its attributes begin.
fn documentation(lines: &[String], at: usize) -> String {
    let mut text = Vec::new();
    for line in lines[..at].iter().rev().map(|l| l.trim()) {
        match line {
            _ if line.starts_with("///") => text.push(line),
            _ if line.starts_with("#[") || line.starts_with(')') || line.ends_with(")]") => {}
            _ => break,
        }
    }
    text.reverse();
    text.join("\n")
}

fn undocumented(source: &Source) -> Vec<(usize, String)> {
    const ITEMS: &[&str] =
        &["fn", "struct", "enum", "trait", "const", "static", "type", "async", "unsafe", "union"];
    let public = |line: &str| {
        let rest = line.trim_start().strip_prefix("pub ")?;
        ITEMS.contains(&rest.split_whitespace().next()?).then(|| rest.chars().take(50).collect::<String>())
    };
    let items = source.code().filter_map(|(at, line)| Some((at, public(line)?)));
    items.filter(|(at, _)| documentation(&source.lines, *at).is_empty()).collect()
}

fn undocumented_errors(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in source.code() {
        let Some(name) = function(line).filter(|_| line.trim_start().starts_with("pub ")) else { continue };
        let upto = source.lines[at..].iter().position(|l| l.trim_end().ends_with('{')).unwrap_or(0);
        let signature = source.lines[at..=at + upto].concat();
        let fails = signature.split("->").nth(1).is_some_and(|answer| answer.contains("Result<"));
        if fails && !documentation(&source.lines, at).contains("# Errors") {
            found.push((at, name.to_string()));
        }
    }
    found
}

fn metaphors(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in source.lines.iter().enumerate() {
        let declared = ["fn ", "struct ", "enum ", "trait ", "mod ", "const ", "static ", "type "];
        let (code, _) = parts(line);
        let Some(name) = declared.iter().find_map(|key| {
            let (before, after) = code.split_once(key)?;
            let word = before.is_empty() || before.ends_with(' ') || before.ends_with('(');
            word.then(|| after.split(|c: char| !c.is_alphanumeric() && c != '_').next())?
        }) else {
            continue;
        };
        for (metaphor, plain) in METAPHORS {
            let snake = name.split('_').any(|part| part.eq_ignore_ascii_case(metaphor));
            let camel = name.to_lowercase() == *metaphor;
            if snake || camel {
                found.push((at, format!("{name}: say {plain}")));
            }
        }
    }
    found
}

fn puzzles(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in source.lines.iter().enumerate() {
        let Some(comment) = parts(line).1 else { continue };
        let said: Vec<String> = words(comment).map(str::to_lowercase).collect();
        for puzzle in PUZZLES {
            let puzzle_words: Vec<&str> = puzzle.split(' ').collect();
            if said.windows(puzzle_words.len()).any(|w| w == puzzle_words) {
                found.push((at, format!("\"{puzzle}\"")));
            }
        }
    }
    found
}

fn code_with(source: &Source, calls: &[&str]) -> Vec<(usize, String)> {
    let hit = |line: &str| calls.iter().find(|call| parts(line).0.contains(**call)).map(|c| c.to_string());
    source.code().filter_map(|(at, line)| Some((at, hit(line)?))).collect()
}

fn tokio_time(source: &Source) -> Vec<(usize, String)> {
    match source.name.starts_with("src/ground/clock/") {
        true => Vec::new(),
        false => code_with(
            source,
            &["tokio::time::sleep", "tokio::time::interval", "tokio::time::Instant", "time::sleep("],
        ),
    }
}

/// Rule and file, with the number of lines that may break it.
type Allowances = BTreeMap<(String, String), usize>;

fn read_list(text: &str) -> Allowances {
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (rule, file, count) = (words.next()?, words.next()?, words.next()?.parse().ok()?);
        Some(((rule.to_string(), file.to_string()), count))
    };
    text.lines().filter(|l| !l.starts_with('#')).filter_map(entry).collect()
}

fn write_list(allowances: &Allowances) -> String {
    let mut text = String::from(
        "# How many lines of a file break a rule of tidy.rs. A number may only shrink: ROPEWALK_TIDY=write cargo test --test it tidy\n",
    );
    for ((rule, file), count) in allowances {
        let _ = writeln!(text, "{rule} {file} {count}");
    }
    text
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for folder in ["src", "tests", "benches"] {
        for file in files(&root.join(folder)) {
            let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
            all.push(Source::new(&name, &std::fs::read_to_string(&file).expect("a source file")));
        }
    }
    all
}

#[test]
fn the_code_is_tidy() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tidy.list");
    let allowed = read_list(&std::fs::read_to_string(&path).expect("tests/it/tidy.list"));
    let lower = std::env::var("ROPEWALK_TIDY").is_ok_and(|v| v == "write");
    let (mut needed, mut wrong) = (Allowances::new(), Vec::new());
    for source in sources() {
        for rule in RULES {
            let found = (rule.find)(&source);
            let key = (rule.name.to_string(), source.name.clone());
            let may = allowed.get(&key).copied().unwrap_or(0);
            if found.len() > may {
                wrong.push(format!(
                    "{}: {} ({} lines may, {} do): {}",
                    source.name,
                    rule.name,
                    may,
                    found.len(),
                    rule.remedy
                ));
                wrong.extend(found.iter().map(|(at, what)| format!("  {}:{}: {what}", source.name, at + 1)));
            }
            if !found.is_empty() {
                needed.insert(key, found.len().min(may));
            }
        }
    }
    needed.retain(|_, count| *count > 0);
    let shrunk: Vec<_> =
        allowed.iter().filter(|(key, may)| needed.get(*key).copied().unwrap_or(0) < **may).collect();
    if lower {
        std::fs::write(&path, write_list(&needed)).expect("tests/it/tidy.list");
    } else {
        wrong.extend(shrunk.iter().map(|((rule, file), may)| {
            format!(
                "{file}: {rule}: fewer than {may} lines break it now; ROPEWALK_TIDY=write lowers the number"
            )
        }));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn each_rule_finds_what_is_planted() {
    let long = format!("fn long() {{\n{}}}\n", "    step();\n".repeat(FUNCTION_LINES));
    let file = "// a line\n".repeat(FILE_LINES + 1);
    let wide = format!("/// {}\n", "word ".repeat(30));
    let planted: &[(&str, &str)] = &[
        ("comment-width", &wide),
        ("function-length", &long),
        ("file-length", &file),
        ("undocumented", "#[derive(Debug)]\npub struct Bare;\n"),
        ("errors-undocumented", "/// Reads it.\npub fn read(\n    path: &Path,\n) -> io::Result<String> {\n"),
        ("metaphor", "struct Arena;\n"),
        ("puzzle", "// Whoever waits gets it.\n"),
        ("bare-spawn", "    tokio::spawn(work());\n"),
        ("unbounded-channel", "    let (tx, rx) = mpsc::unbounded_channel();\n"),
        ("tokio-time", "    tokio::time::sleep(PAUSE).await;\n"),
        ("module-style", "pub(crate) mod part;\n"),
        ("test-layout", "#[cfg(test)]\nmod tests {\n    fn t() {}\n}\n\nfn behind() {}\n"),
    ];
    for rule in RULES {
        let (_, text) =
            planted.iter().find(|(name, _)| *name == rule.name).expect("a planted breach of every rule");
        assert_eq!((rule.find)(&Source::new("src/planted.rs", text)).len(), 1, "{}", rule.name);
    }
    let named = Source::new("src/planted_tests.rs", "fn t() {}\n");
    assert_eq!(scattered_tests(&named).len(), 1, "a name of its own");
    let fine = "/// Reads it.\n///\n/// # Errors\n/// When it is not there.\n#[must_use]\npub fn read(path: &Path) -> io::Result<String> {\n    let url = \"http://somebody\";\n}\n\n#[cfg(test)]\nmod tests {\n    fn t() { tokio::spawn(x()); }\n}\n";
    for rule in RULES {
        assert_eq!((rule.find)(&Source::new("src/fine.rs", fine)), Vec::new(), "{}", rule.name);
    }
}

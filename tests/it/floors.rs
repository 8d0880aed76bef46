//! The floors: a room uses rooms on lower floors only, and some rooms have further limits. The rule for who may `use` whom is the rule for
//! who talks to whom in Kubernetes.

use std::path::{Path, PathBuf};

const FLOORS: [&[&str]; 8] = [
    &["lang", "linux", "clock", "rng", "tap", "task", "pki"], // ground floor: may use those to its left
    &["raft", "api", "cri", "cni", "applets"],
    &["etcd", "client", "runtime", "net"],
    &["apiserver", "scheduler", "controllers", "kubelet", "proxy", "addons", "kubectl", "etcdctl"],
    &["cluster"],
    &["lab"],
    &["ui", "bench"],
    &["cli", "main"],
];

/// (who, what, why): what the floors alone do not forbid.
const NEVER: &[(&[&str], &str, &str)] = &[
    (&["kubelet"], "crate::runtime", "it knows the cri traits, not who implements them"),
    (&["runtime"], "crate::net", "it knows the cni traits, not who implements them"),
    (&["proxy"], "crate::net", "it writes rules through cni"),
    (
        &["scheduler", "controllers", "kubelet", "proxy", "addons", "kubectl", "client"], // `etcdctl` speaks its messages
        "crate::etcd",
        "only the API server talks to etcd",
    ),
    (&["raft", "etcd"], "Pod", "the store keeps bytes and has never heard of Kubernetes"),
    (&["raft", "etcd"], "k8s_openapi", "the store keeps bytes and has never heard of Kubernetes"),
];

/// Files that handle paths of objects and of containers. Such a path is opened by `linux::beneath`, which keeps it inside its root.
const UNTRUSTED_PATHS: &[&str] =
    &["kubelet/volumes.rs", "addons/storage.rs", "runtime/root.rs", "runtime/init.rs"];

/// Calls that look a path up by name and follow its links. Making a trusted directory is allowed: its path is the program's own.
const BY_NAME: &[&str] = &[
    "File::open(",
    "File::create(",
    "File::options(",
    "OpenOptions",
    "fs::read(",
    "fs::write(",
    "fs::read_to_string(",
    "fs::copy(",
    "fs::remove_dir_all(",
    "fs::remove_file(",
    "fs::rename(",
    "fs::canonicalize(",
    ".canonicalize(",
];

/// Everything wrong in a file that handles untrusted paths. Its unit tests may do as they like.
fn paths_by_name(name: &str, text: &str) -> Vec<String> {
    let code = bare(text);
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let found = BY_NAME.iter().filter(|call| code.contains(**call));
    found.map(|call| format!("{name}: {call}…) follows links of a pod; use crate::linux::beneath")).collect()
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The code of a file without comments and strings.
fn bare(text: &str) -> String {
    let mut code = String::new();
    let mut in_string = false;
    for line in text.lines() {
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' if in_string => drop(chars.next()),
                '"' => in_string = !in_string,
                '\'' if !in_string && chars.peek() == Some(&'"') => drop(chars.next()), // the character '"'
                '/' if !in_string && chars.peek() == Some(&'/') => break,
                c if !in_string => code.push(c),
                _ => {}
            }
        }
        code.push('\n');
    }
    code
}

/// Everything wrong in one file of a room.
fn violations(room: &str, name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let code = bare(text);
    let Some(own) = floor(room) else {
        return vec![format!("{name}: room {room:?} has no floor; give it one in tests/it/floors.rs")];
    };
    for rest in code.split("crate::").skip(1) {
        let named: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if named.is_empty() {
            found.push(format!(
                "{name}: write one room per `use crate::` line, so that this test can read it"
            ));
            continue;
        }
        if named == room || (named == "Error" || named == "Result") {
            continue;
        }
        let Some(other) = floor(&named) else {
            found.push(format!("{name}: crate::{named} is not a room"));
            continue;
        };
        let position = |r: &str| FLOORS[own].iter().position(|x| *x == r);
        let to_the_left = own == 0 && other == 0 && position(&named) < position(room);
        if other >= own && !to_the_left {
            found.push(format!(
                "{name}: {room} (floor {own}) uses {named} (floor {other}): only lower floors may be used"
            ));
        }
    }
    for (rooms, what, why) in NEVER {
        if !rooms.contains(&room) {
            continue;
        }
        let word = |at: usize| {
            let before = code[..at].chars().next_back();
            let after = code[at + what.len()..].chars().next();
            let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            !part(before) && !part(after)
        };
        if code.match_indices(what).any(|(at, _)| word(at)) {
            found.push(format!("{name}: {room} must not say {what}: {why}"));
        }
    }
    if code.contains("super::super::super") {
        found.push(format!("{name}: `super::super::super` hides where it leads"));
    }
    found
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false if path.extension().is_some_and(|e| e == "rs") => all.push(path),
            false => {}
        }
    }
    all.sort();
    all
}

#[test]
fn rooms_keep_their_floors() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut rooms = 0;
    for entry in std::fs::read_dir(&src).expect("src").flatten().filter(|e| e.path().is_dir()) {
        let room = entry.file_name().to_string_lossy().into_owned();
        rooms += 1;
        for file in files(&entry.path()) {
            let text = std::fs::read_to_string(&file).expect("a source file");
            let name = file.strip_prefix(&src).unwrap_or(&file).display().to_string();
            found.extend(violations(&room, &name, &text));
        }
    }
    assert!(rooms > 15, "the rooms were not found");
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn untrusted_paths_are_resolved_in_one_place() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for name in UNTRUSTED_PATHS {
        let text = std::fs::read_to_string(src.join(name)).expect("a source file");
        found.extend(paths_by_name(name, &text));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    let planted =
        "fn f() { let _ = fs::read(root.join(item)); }\n#[cfg(test)]\nmod tests { fs::rename(a, b) }";
    assert_eq!(paths_by_name("planted.rs", planted).len(), 1);
    assert!(paths_by_name("fine.rs", "// fs::read(x)\nroot.read_file(x)").is_empty());
}

#[test]
fn every_room_opens_as_a_chapter() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for room in FLOORS.iter().flat_map(|f| f.iter()) {
        let Ok(text) = std::fs::read_to_string(src.join(room).join("mod.rs")) else { continue };
        for heading in ["In Kubernetes", "How this one works", "Left out", "Read next"] {
            assert!(
                text.contains(&format!("//! ## {heading}")),
                "src/{room}/mod.rs lacks the heading {heading:?}"
            );
        }
    }
}

#[test]
fn planted_violations_are_found() {
    let planted = [
        ("kubelet", "use crate::runtime::NodeRuntime;", "cri traits"),
        ("scheduler", "use crate::kubelet::decide;", "only lower floors"),
        ("clock", "use crate::tap::Tap;", "only lower floors"),
        ("etcd", "struct Pod;", "must not say Pod"),
        ("addons", "fn f() { crate::etcd::Kv::new() }", "only the API server"),
        ("proxy", "use crate::{client, net};", "one room per"),
        ("basement", "use crate::clock;", "has no floor"),
        ("ui", "use crate::nowhere::x;", "is not a room"),
    ];
    for (room, code, expected) in planted {
        let found = violations(room, "planted.rs", code);
        assert!(found.iter().any(|f| f.contains(expected)), "{room}: {code}: {found:?}");
    }
    for (room, code) in [
        ("tap", "use crate::clock::now;"),
        ("kubelet", "use crate::client::Client; // crate::runtime in a comment"),
        ("etcd", "let text = \"a Pod in a string\"; let PodLike = 1;"),
    ] {
        assert_eq!(violations(room, "fine.rs", code), Vec::<String>::new(), "{code}");
    }
}

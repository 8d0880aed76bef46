//! What Cargo cannot say about the rooms: which floor a room stands on, and which dependencies are
//! forbidden although the floor would allow them. A room is a crate and a floor is a folder; the
//! rule for who may depend on whom is the rule for who talks to whom in Kubernetes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// From the ground up. A room depends on rooms of lower floors only; on the ground floor, on those
/// to its left.
const FLOORS: [&[&str]; 8] = [
    &["lang", "clock", "linux", "rng", "tap", "task", "pki", "golden"],
    &["raft", "api", "cri", "cni", "applets"],
    &["etcd", "client", "runtime", "net"],
    &["apiserver", "scheduler", "controllers", "kubelet", "proxy", "addons", "kubectl", "etcdctl"],
    &["cluster"],
    &["lab"],
    &["ui", "bench"],
    &["cli"],
];

/// The folder of each of the four floors that have one.
const FOLDERS: [&str; 4] = ["ground", "machinery", "foundation", "components"];

/// (who, which room, why): dependencies that the floors alone do not forbid.
const NEVER: &[(&[&str], &str, &str)] = &[
    (&["kubelet"], "runtime", "it knows the cri traits, not who implements them"),
    (&["runtime"], "net", "it knows the cni traits, not who implements them"),
    (&["proxy"], "net", "it writes rules through cni"),
    (
        &["scheduler", "controllers", "kubelet", "proxy", "addons", "kubectl", "client"], // `etcdctl` speaks its messages
        "etcd",
        "only the API server talks to etcd",
    ),
    (&["raft", "etcd"], "k8s-openapi", "the store keeps bytes and has never heard of Kubernetes"),
];

/// (who, which word, why): words that a room does not say.
const UNSAID: &[(&[&str], &str, &str)] =
    &[(&["raft", "etcd"], "Pod", "the store keeps bytes and has never heard of Kubernetes")];

/// Files that handle paths of objects and of containers. Such a path is opened by `linux::beneath`,
/// which keeps it inside its root.
const UNTRUSTED_PATHS: &[&str] = &[
    "components/kubelet/volumes/mod.rs",
    "components/kubelet/volumes/of_node.rs",
    "components/kubelet/volumes/tokens.rs",
    "components/addons/storage/mod.rs",
    "components/addons/storage/disk.rs",
    "foundation/runtime/dev.rs",
    "foundation/runtime/root.rs",
    "foundation/runtime/init.rs",
    "foundation/runtime/pause.rs",
];

/// Calls that look a path up by name and follow its links. Making a trusted directory is allowed:
/// its path is the program's own.
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
    found.map(|call| format!("{name}: {call}…) follows links of a pod; use linux::beneath")).collect()
}

/// kube-rs' own `Api` puts names into paths as they are. These rooms may say it: `client`, whose
/// `Api` escapes them, and `bench`, which is a foreign client with names of its own.
const UNESCAPED: [&str; 2] = ["client", "bench"];

/// Records whether a file imports or names kube-rs' own `Api` instead of `client::Api`.
fn has_unescaped_names(text: &str) -> bool {
    let code = bare(text);
    let has_word = |code: &str| code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "Api");
    let imports = code.split("use ").skip(1).filter_map(|rest| rest.split(';').next());
    let of_kube = |import: &&str| import.starts_with("kube::") || import.starts_with("client::kube::");
    imports.filter(of_kube).any(has_word) || code.contains("kube::Api<") || code.contains("kube::Api::")
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Where a room stands, below `src`.
fn place(room: &str) -> PathBuf {
    match floor(room).and_then(|floor| FOLDERS.get(floor)) {
        Some(folder) => Path::new(folder).join(room),
        None => PathBuf::from(room),
    }
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

/// What a manifest says under `[dependencies]`; what tests alone need may come from anywhere below.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]" && !line.is_empty() && !line.starts_with('#') {
            found.push(line.split(['.', ' ', '=']).next().unwrap_or_default().to_string());
        }
    }
    found
}

/// Everything wrong in a room's manifest.
fn upward(room: &str, manifest: &str) -> Vec<String> {
    let Some(own) = floor(room) else {
        return vec![format!("room {room:?} has no floor; give it one in tests/it/floors.rs")];
    };
    let mut found = Vec::new();
    for other in dependencies(manifest) {
        if let Some(floor_of_other) = floor(&other) {
            let position = |r: &str| FLOORS[own].iter().position(|x| *x == r);
            let to_the_left = own == 0 && floor_of_other == 0 && position(&other) < position(room);
            if floor_of_other >= own && !to_the_left {
                found.push(format!(
                    "{room} (floor {own}) depends on {other} (floor {floor_of_other}): only lower floors may be used"
                ));
            }
        }
        for (rooms, what, why) in NEVER {
            if rooms.contains(&room) && *what == other {
                found.push(format!("{room} must not depend on {what}: {why}"));
            }
        }
    }
    found
}

/// Everything wrong in one file of a room.
fn violations(room: &str, name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let code = bare(text);
    for (rooms, what, why) in UNSAID {
        let word = |at: usize| {
            let before = code[..at].chars().next_back();
            let after = code[at + what.len()..].chars().next();
            let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            !part(before) && !part(after)
        };
        if rooms.contains(&room) && code.match_indices(what).any(|(at, _)| word(at)) {
            found.push(format!("{name}: {room} must not say {what}: {why}"));
        }
    }
    if code.contains("super::super::super") {
        found.push(format!("{name}: `super::super::super` hides where it leads"));
    }
    found
}

pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
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

/// Every room by name, with its folder: what has a manifest below `src`.
pub(crate) fn rooms() -> BTreeMap<String, PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    let mut folders = vec![src];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).expect("a folder").flatten().map(|e| e.path()) {
            match path.join("Cargo.toml").is_file() {
                true => drop(found.insert(path.file_name().unwrap().to_string_lossy().into_owned(), path)),
                false if FOLDERS.iter().any(|f| path.ends_with(f)) => folders.push(path),
                false => {}
            }
        }
    }
    found
}

#[test]
fn rooms_keep_their_floors() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rooms = rooms();
    assert_eq!(
        rooms.len(),
        FLOORS.iter().map(|rooms| rooms.len()).sum::<usize>(),
        "rooms and their table differ"
    );
    let mut found = Vec::new();
    for (room, folder) in &rooms {
        if *folder != src.join(place(room)) {
            found.push(format!("{room} stands in {}, not in {}", folder.display(), place(room).display()));
        }
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        found.extend(upward(room, &manifest));
        for file in files(folder) {
            let text = std::fs::read_to_string(&file).expect("a source file");
            let name = file.strip_prefix(&src).unwrap_or(&file).display().to_string();
            found.extend(violations(room, &name, &text));
        }
    }
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
fn names_in_paths_are_escaped_by_the_client() {
    let mut found = Vec::new();
    for (_, folder) in rooms().iter().filter(|(room, _)| !UNESCAPED.contains(&room.as_str())) {
        for file in files(folder) {
            if has_unescaped_names(&std::fs::read_to_string(&file).expect("a source file")) {
                found.push(format!("{}: use client::Api, which escapes names", file.display()));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    assert!(has_unescaped_names("use kube::api::{\n    Api, Patch,\n};"));
    assert!(has_unescaped_names("use client::kube::Api;") && has_unescaped_names("kube::Api::all(client)"));
    assert!(!has_unescaped_names("use client::Api;\nuse kube::api::{ApiResource, Patch}; // kube::Api::all"));
}

#[test]
fn every_room_opens_as_a_chapter() {
    for (room, folder) in rooms() {
        let text = std::fs::read_to_string(folder.join("lib.rs")).expect("a room's chapter");
        for heading in ["In Kubernetes", "How this one works", "Left out", "Read next"] {
            assert!(text.contains(&format!("//! ## {heading}")), "{room} lacks the heading {heading:?}");
        }
    }
}

#[test]
fn planted_violations_are_found() {
    let planted = [
        ("kubelet", "[dependencies]\nruntime.workspace = true", "cri traits"),
        ("scheduler", "[dependencies]\nkubelet = { workspace = true }", "only lower floors"),
        ("clock", "[dependencies]\ntap.workspace = true", "only lower floors"),
        ("etcd", "[features]\nx = []\n[dependencies]\nk8s-openapi.workspace = true", "never heard"),
        ("addons", "[dependencies]\ntap.workspace = true\netcd.workspace = true", "only the API server"),
        ("basement", "[dependencies]\nclock.workspace = true", "has no floor"),
    ];
    for (room, manifest, expected) in planted {
        let found = upward(room, manifest);
        assert!(found.iter().any(|f| f.contains(expected)), "{room}: {manifest}: {found:?}");
    }
    for (room, manifest) in [
        ("tap", "[dependencies]\nclock.workspace = true"),
        (
            "kubelet",
            "[dependencies]\nclient.workspace = true\n# runtime\n[dev-dependencies]\nruntime.workspace = true",
        ),
    ] {
        assert_eq!(upward(room, manifest), Vec::<String>::new(), "{manifest}");
    }
    assert!(violations("etcd", "planted.rs", "struct Pod;")[0].contains("must not say Pod"));
    let fine = "let text = \"a Pod in a string\"; let PodLike = 1;";
    assert_eq!(violations("etcd", "fine.rs", fine), Vec::<String>::new());
}

//! Which flags the code behind a verb reads, found in the sources, for the test of the table. That
//! some code reads a flag is not enough: a verb that takes the flag and does not reach that code
//! ignores it without a word.
//!
//! It reads rustfmt's form of the sources and follows names, not types: a method's name leads to
//! every method of that name. So it may take a flag for read that is not; it misses no reader.

use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Methods of the standard library that methods of ours share their name with: they lead to ours
/// only where the file names the type.
const COMMON: [&str; 15] = [
    "get", "insert", "is", "join", "list", "name", "next", "pairs", "pop", "push", "remove", "replace",
    "run", "take", "text",
];

/// One function, or one constant.
struct Item {
    module: String,
    /// The type whose method it is, or nothing.
    owner: String,
    name: String,
    text: String,
}

pub(super) struct Code {
    items: Vec<Item>,
    /// What the files of a module import: the module that it is from, and its name.
    imports: BTreeMap<String, Vec<(String, String)>>,
    /// Every word in the files of a module.
    words: BTreeMap<String, BTreeSet<String>>,
    /// Module and function of each verb, by its path.
    verbs: BTreeMap<String, (String, String)>,
}

/// Names are of ASCII letters, which is quicker to match.
fn regex(text: &str) -> Regex {
    Regex::new(&text.replace(r"\w", "[A-Za-z0-9_]")).unwrap()
}

impl Code {
    /// Reads the sources of this room, without its tests and the table itself.
    pub(super) fn of_room() -> Code {
        let line = regex(r#"^    "([^"]*)" => (?:\w+::)*?(\w+)::(\w+),$"#);
        let verbs = include_str!("functions.rs").lines().filter_map(|text| line.captures(text));
        let verbs = verbs.map(|c| (c[1].to_string(), (c[2].to_string(), c[3].to_string()))).collect();
        let mut code = Code { items: vec![], imports: BTreeMap::new(), words: BTreeMap::new(), verbs };
        code.folder(Path::new(env!("CARGO_MANIFEST_DIR")), "");
        code
    }

    fn folder(&mut self, folder: &Path, above: &str) {
        let own = folder.file_name().unwrap().to_string_lossy().into_owned();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            match name.strip_suffix(".rs") {
                Some("testing" | "tests") => {}
                Some("mod") => self.file(&path, &own, above),
                Some(module) => self.file(&path, module, &own),
                None if path.is_dir() && name != "table" => self.folder(&path, &own),
                None => {}
            }
        }
    }

    fn file(&mut self, path: &Path, module: &str, parent: &str) {
        let text = std::fs::read_to_string(path).unwrap();
        let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
        let words = self.words.entry(module.to_string()).or_default();
        words.extend(regex(r"[A-Za-z_]\w*").find_iter(text).map(|word| word.as_str().to_string()));
        let imports = self.imports.entry(module.to_string()).or_default();
        for found in regex(r"(?m)^ *(?:pub(?:\([^)]*\))? )?use ([^;]+);").captures_iter(text) {
            flatten(parent, &found[1], imports);
        }
        self.split(module, text);
    }

    /// Finds the functions and constants of a file. As rustfmt writes them, one ends at a brace
    /// with the inset of its first line.
    fn split(&mut self, module: &str, text: &str) {
        let implementation = regex(r"^impl(?:<[^>]*>)? (?:[A-Za-z0-9_:<>, ]+ for )?(\w+)");
        let function = regex(r"^( *)(?:pub(?:\([^)]*\))? )?(?:const )?(?:async )?fn (\w+)");
        let constant = regex(r"^(?:pub(?:\([^)]*\))? )?(?:const|static) (\w+):");
        let (lines, mut owner): (Vec<&str>, _) = (text.lines().collect(), String::new());
        for (at, line) in lines.iter().enumerate() {
            if let Some(found) = implementation.captures(line) {
                owner = found[1].to_string();
            } else if *line == "}" {
                owner.clear();
            }
            let (name, inset, one_line) = if let Some(found) = function.captures(line) {
                (found[2].to_string(), found[1].to_string(), line.ends_with(['}', ';']))
            } else if let Some(found) = constant.captures(line) {
                (found[1].to_string(), String::new(), line.ends_with(';'))
            } else {
                continue;
            };
            let (brace, paren) = (format!("{inset}}}"), format!("{inset})"));
            let ends =
                |l: &str| l == brace || l.ends_with(';') && (l.starts_with(&paren) || l.starts_with("]"));
            let length = match one_line {
                true => 1,
                false => lines[at..].iter().position(|l| ends(l)).unwrap_or(0) + 1,
            };
            let owner = if inset.is_empty() { String::new() } else { owner.clone() };
            let text = lines[at..at + length].join("\n");
            self.items.push(Item { module: module.into(), owner, name, text });
        }
    }

    /// For each item, the items that it names.
    fn named(&self) -> Vec<Vec<usize>> {
        let (mut functions, mut methods): (BTreeMap<_, Vec<usize>>, BTreeMap<&str, Vec<usize>>) =
            Default::default();
        for (at, item) in self.items.iter().enumerate() {
            let place = if item.owner.is_empty() { &item.module } else { &item.owner };
            functions.entry((place.as_str(), item.name.as_str())).or_default().push(at);
            if !item.owner.is_empty() {
                methods.entry(item.name.as_str()).or_default().push(at);
            }
        }
        let (comment, literal) = (regex(r"//.*"), regex(r#""(?:[^"\\]|\\.)*""#));
        let path = regex(r"((?:\w+::)*)(\.?)([A-Za-z_]\w*)");
        let of_item = |item: &Item| {
            let mut found = BTreeSet::new();
            let bare = literal.replace_all(&comment.replace_all(&item.text, ""), "\"\"").into_owned();
            for parts in path.captures_iter(&bare) {
                let name = parts.get(3).map_or("", |name| name.as_str());
                let mut add = |place: &str| found.extend(functions.get(&(place, name)).into_iter().flatten());
                match (parts[1].trim_end_matches("::").rsplit("::").next().unwrap_or(""), &parts[2]) {
                    ("", ".") => {
                        let words = &self.words[&item.module];
                        let near = |at: &&usize| words.contains(&self.items[**at].owner);
                        let all = methods.get(name).into_iter().flatten();
                        found.extend(all.filter(|at| !COMMON.contains(&name) || near(at)));
                    }
                    ("Self", _) => add(&item.owner),
                    ("" | "self" | "super" | "crate", _) => {
                        add(&item.module);
                        let imports = self.imports[&item.module].iter().filter(|(_, own)| own == name);
                        imports.for_each(|(module, _)| add(module));
                    }
                    (before, _) => add(before),
                }
            }
            found.into_iter().collect()
        };
        self.items.iter().map(of_item).collect()
    }

    /// The text of all functions that read flags.
    pub(super) fn everything(&self) -> String {
        joined(self.items.iter())
    }

    /// For each verb, by its path, the text of all functions that may run for it and read flags.
    pub(super) fn readers(&self) -> BTreeMap<&str, String> {
        let named = self.named();
        let mut found = BTreeMap::new();
        for (verb, (module, function)) in &self.verbs {
            let is_run =
                |item: &Item| item.module == *module && item.owner.is_empty() && item.name == *function;
            let mut reached: BTreeSet<usize> =
                (0..self.items.len()).filter(|at| is_run(&self.items[*at])).collect();
            assert!(!reached.is_empty(), "no function {module}::{function}");
            let mut open: Vec<usize> = reached.iter().copied().collect();
            while let Some(at) = open.pop() {
                for next in &named[at] {
                    // `Ctx::api` sends flags to the server, whether the verb obeys them or not.
                    let item = &self.items[*next];
                    let manner = item.owner == "Ctx" && item.name == "api";
                    if !manner && reached.insert(*next) {
                        open.push(*next);
                    }
                }
            }
            found.insert(verb.as_str(), joined(reached.iter().map(|at| &self.items[*at])));
        }
        found
    }
}

/// The text of the functions among these that read flags.
fn joined<'a>(items: impl Iterator<Item = &'a Item>) -> String {
    let reads = regex(r"\bflags\b|self\.flag\(");
    let is_reader = |item: &&Item| reads.is_match(&item.text) && item.name == item.name.to_lowercase();
    items.filter(is_reader).map(|item| item.text.as_str()).collect::<Vec<_>>().join("\n")
}

/// `a::{b, c::{d}}` as (a, b) and (c, d); `super` is the module above.
fn flatten(above: &str, tree: &str, into: &mut Vec<(String, String)>) {
    let (mut depth, mut start) = (0, 0);
    for (at, letter) in tree.char_indices().chain([(tree.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let one = tree[start..at].trim();
                start = at + 1;
                if let Some((path, inner)) = one.strip_suffix('}').and_then(|one| one.split_once('{')) {
                    let last = path.trim_end_matches("::").rsplit("::").next().unwrap_or(above);
                    flatten(if last == "super" { above } else { last }, inner, into);
                } else if !one.is_empty() {
                    let one = one.split(" as ").next().unwrap_or(one);
                    let (path, name) = one.rsplit_once("::").unwrap_or((above, one));
                    let last = path.rsplit("::").next().unwrap_or(path);
                    into.push((if last == "super" { above } else { last }.into(), name.into()));
                }
            }
            _ => {}
        }
    }
}

//! File names from patterns.

use super::pattern::{Glyph, matches};
use std::fs;
use std::path::Path;

/// `[` without `]` is plain text, so the command `[` reads no directory.
fn is_pattern(part: &[Glyph]) -> bool {
    let bracket = part.iter().position(|g| g.is_active(&['[']));
    part.iter().any(|g| g.is_active(&['*', '?']))
        || bracket.is_some_and(|at| part[at..].iter().any(|g| g.is_active(&[']'])))
}

/// Existing paths that fit, sorted; `None` if the word is no pattern.
pub(super) fn matching_paths(word: &[Glyph]) -> Option<Vec<String>> {
    let parts: Vec<&[Glyph]> = word.split(|g| g.c == '/').collect();
    if !parts.iter().any(|part| is_pattern(part)) {
        return None;
    }
    let mut found = vec![String::new()];
    for (i, part) in parts.iter().enumerate() {
        let last = i + 1 == parts.len();
        found = found.into_iter().flat_map(|base| match_in_directory(&base, part, i == 0, last)).collect();
    }
    Some(found)
}

/// Returns the paths that `part` leads to from `base`, which is empty or ends in `/`.
fn match_in_directory(base: &str, part: &[Glyph], first: bool, last: bool) -> Vec<String> {
    if !is_pattern(part) {
        let path = format!("{base}{}", part.iter().map(|g| g.c).collect::<String>());
        return match (first && path.is_empty(), last) {
            (true, _) => vec!["/".to_string()],
            (_, false) => vec![path + "/"], // of `a//b`, too: every slash of the word stays
            (_, true) if part.is_empty() || fs::symlink_metadata(&path).is_ok() => vec![path],
            (_, true) => Vec::new(),
        };
    }
    let hidden_too = part.first().is_some_and(|g| g.c == '.');
    let entries = fs::read_dir(if base.is_empty() { "." } else { base }).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| hidden_too || !name.starts_with('.'))
        .filter(|name| matches(part, &name.chars().collect::<Vec<_>>()))
        .collect();
    names.sort();
    let paths = names.into_iter().map(|name| format!("{base}{name}"));
    if last {
        paths.collect()
    } else {
        paths.filter(|path| Path::new(path).is_dir()).map(|path| path + "/").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::pattern::Kind;
    use super::*;

    #[test]
    fn names_are_found_through_directories() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a/x.txt", "b/x.txt", "b/y.md", ".c/x.txt"] {
            fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            fs::write(dir.path().join(name), "").unwrap();
        }
        let root = dir.path().to_str().unwrap();
        let find = |text: &str| {
            let word: Vec<Glyph> =
                format!("{root}/{text}").chars().map(|c| Glyph { c, kind: Kind::Literal }).collect();
            let found = matching_paths(&word)?;
            Some(found.iter().map(|p| p[root.len() + 1..].to_string()).collect::<Vec<_>>())
        };
        assert_eq!(find("*/x.txt"), Some(vec!["a/x.txt".into(), "b/x.txt".into()]));
        assert_eq!(find(".*/x.txt"), Some(vec![".c/x.txt".into()]));
        assert_eq!(find("*/nothing*"), Some(vec![]));
        assert_eq!(find("[ab]/y*"), Some(vec!["b/y.md".into()]));
        assert_eq!(find("a//x*"), Some(vec!["a//x.txt".into()]));
        assert_eq!(find("a*//"), Some(vec!["a//".into()]));
        for plain in ["a/x.txt", "[", "[a", "[/]"] {
            assert_eq!(find(plain), None, "{plain}");
        }
    }
}

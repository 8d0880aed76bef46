//! Patterns of file names (`-f '*.yaml'`), as Go's `filepath.Glob` expands them.

use std::path::{Path, PathBuf};

/// Go's `filepath.ErrBadPattern`.
const BAD: &str = "syntax error in pattern";

/// Expands a pattern below `base`: `*` and `?` stand for letters of one name, `[a-z]` and `[^a-z]`
/// for one letter, and `\` takes the special meaning from the letter behind it. Returns the paths
/// as the user would have typed them, in alphabetical order. A folder that cannot be read has no
/// files.
///
/// Example: in a folder with `a.yaml`, `b.json` and `old/c.yaml`, `*.yaml` is `a.yaml`, and
/// `*/*.yaml` is `old/c.yaml`.
///
/// # Errors
/// The pattern is none: a `[` without its end, or a `\` at the end.
pub(crate) fn expand(base: &Path, pattern: &str) -> Result<Vec<String>, &'static str> {
    let mut found = vec![String::from(if pattern.starts_with('/') { "/" } else { "" })];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let letters: Vec<char> = part.chars().collect();
        matches(&letters, &[])?; // a fault is one, whatever the files are called
        let mut deeper = vec![];
        for folder in found {
            let at = |name: &str| match folder.as_str() {
                "" | "/" => format!("{folder}{name}"),
                _ => format!("{folder}/{name}"),
            };
            if !part.contains(['*', '?', '[', '\\']) {
                deeper.extend(Some(at(part)).filter(|path| base.join(path).exists()));
                continue;
            }
            for name in names(&base.join(&folder)) {
                if matches(&letters, &name.chars().collect::<Vec<_>>())? {
                    deeper.push(at(&name));
                }
            }
        }
        found = deeper;
    }
    Ok(found)
}

/// The names in a folder, in order.
fn names(folder: &PathBuf) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Matches one name against one part of a pattern. The whole pattern is read, also where nothing
/// can fit any more, so that its faults are found.
fn matches(pattern: &[char], name: &[char]) -> Result<bool, &'static str> {
    // How many letters of the name the pattern may have used up so far. To try the rest of the
    // pattern behind each `*` for each number would take exponential time.
    let mut used = vec![false; name.len() + 1];
    used[0] = true;
    let mut left = pattern;
    while let Some((first, rest)) = left.split_first() {
        if *first == '*' {
            let least = used.iter().position(|possible| *possible).unwrap_or(used.len());
            used[least..].fill(true);
            left = rest;
            continue;
        }
        (_, left) = one(*first, rest, None)?;
        for (at, letter) in name.iter().enumerate().rev() {
            used[at + 1] = used[at] && one(*first, rest, Some(*letter))?.0;
        }
        used[0] = false;
    }
    Ok(used[name.len()])
}

/// Returns whether the first letter of a pattern, which is no `*`, matches this letter, and the
/// rest of the pattern.
fn one(first: char, rest: &[char], letter: Option<char>) -> Result<(bool, &[char]), &'static str> {
    match first {
        '?' => Ok((letter.is_some(), rest)),
        '\\' => {
            let (escaped, rest) = rest.split_first().ok_or(BAD)?;
            Ok((letter == Some(*escaped), rest))
        }
        '[' => class(rest, letter),
        plain => Ok((letter == Some(plain), rest)),
    }
}

/// Matches a letter against the class behind a `[`: letters and ranges until `]`. Returns the rest
/// of the pattern, too.
fn class(pattern: &[char], letter: Option<char>) -> Result<(bool, &[char]), &'static str> {
    let (negated, mut rest) = match pattern {
        ['^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (mut fits, mut ranges) = (false, 0);
    loop {
        if let [']', after @ ..] = rest
            && ranges > 0
        {
            return Ok((letter.is_some() && fits != negated, after));
        }
        let low;
        (low, rest) = bound(rest)?;
        let mut high = low;
        if let ['-', after @ ..] = rest {
            (high, rest) = bound(after)?;
        }
        fits |= letter.is_some_and(|letter| (low..=high).contains(&letter));
        ranges += 1;
    }
}

/// Reads one end of a range, and returns the rest of the pattern.
fn bound(pattern: &[char]) -> Result<(char, &[char]), &'static str> {
    match pattern {
        ['\\', letter, rest @ ..] => Ok((*letter, rest)),
        ['-' | ']' | '\\', ..] | [] => Err(BAD),
        [letter, rest @ ..] => Ok((*letter, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        let is = |pattern: &str, name: &str| {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            matches(&letters(pattern), &letters(name))
        };
        for (pattern, name) in [
            ("*.yaml", "a.yaml"),
            ("*", ""),
            ("a*b*c", "axxbyyc"),
            ("?.y?ml", "a.yaml"),
            ("[a-c]1", "b1"),
            ("[^a-c]1", "d1"),
            ("\\*", "*"),
            ("[\\]]", "]"),
            ("가*", "가나"),
        ] {
            assert_eq!(is(pattern, name), Ok(true), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*.yaml", "a.yml"), ("?", ""), ("[a-c]", "d"), ("[^a]", "a"), ("[^a]", ""), ("a", "ab")]
        {
            assert_eq!(is(pattern, name), Ok(false), "{pattern} {name}");
        }
        for pattern in ["[", "[]", "[a", "[a-]", "a\\", "x[-a]"] {
            assert_eq!(is(pattern, "b"), Err(BAD), "{pattern}");
        }
        // Many wildcards take no longer than others.
        assert_eq!(is(&"*a".repeat(40), &"a".repeat(200)), Ok(true));
        assert_eq!(is(&("*a".repeat(40) + "b"), &"a".repeat(200)), Ok(false));
    }

    #[test]
    fn paths_are_shown_as_they_were_typed() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["new", "old"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
            std::fs::write(dir.path().join(folder).join("c.yaml"), "").unwrap();
        }
        for file in ["b.yaml", "a.yaml", "a.json"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        let expand = |pattern: &str| expand(dir.path(), pattern);
        assert_eq!(expand("*.yaml").unwrap(), ["a.yaml", "b.yaml"]);
        assert_eq!(expand("*/c.yaml").unwrap(), ["new/c.yaml", "old/c.yaml"]);
        assert_eq!(expand("./*.json").unwrap(), ["./a.json"]);
        assert_eq!(expand("old/*").unwrap(), ["old/c.yaml"]);
        let absolute = format!("{}/*.json", dir.path().display());
        assert_eq!(expand(&absolute).unwrap(), [absolute.replace('*', "a")]);
        assert!(expand("*.txt").unwrap().is_empty() && expand("gone/*").unwrap().is_empty());
        assert_eq!(expand("["), Err(BAD));
    }
}

//! Paths as Go's package `path` treats them: by their text alone, no file is looked at.

/// Shortens a path as Go's `path.Clean`: without empty parts and `.`, and without `..` where there
/// is a part before it to leave out. An empty path becomes `.`.
pub(crate) fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = vec![];
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if is_absolute => {}
            part => parts.push(part),
        }
    }
    match (is_absolute, parts.join("/")) {
        (true, parts) => format!("/{parts}"),
        (false, parts) if parts.is_empty() => ".".into(),
        (false, parts) => parts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_no_detours() {
        for (path, cleaned) in [
            ("", "."),
            (".", "."),
            ("./a/", "a"),
            ("a//b/./c", "a/b/c"),
            ("a/b/../c", "a/c"),
            ("a/..", "."),
            ("a/../..", ".."),
            ("../../a", "../../a"),
            ("/", "/"),
            ("//", "/"),
            ("/..", "/"),
            ("/../a/./b/../", "/a"),
            ("...", "..."),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }
}

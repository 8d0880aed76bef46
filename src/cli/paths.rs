//! Paths of files that a command line names, or that a command prints for the next one.

use std::path::{Path, PathBuf};

/// Returns a file's path that stays valid when the process changes its directory.
pub(crate) fn absolute(path: Option<PathBuf>) -> anyhow::Result<Option<PathBuf>> {
    Ok(path.map(std::path::absolute).transpose()?)
}

/// A path as a word of a shell: one with a space, for example, is put into quotes.
pub(crate) fn quote(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "/._-+".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        for (path, word) in [
            ("/home/kim/.ropewalk", "/home/kim/.ropewalk"),
            ("my lessons", "'my lessons'"),
            ("it's", "'it'\\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(quote(Path::new(path)), word);
        }
    }
}

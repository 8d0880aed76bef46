//! The files that `-f` names: a file, a folder, or a pattern.

use crate::ctx::Ctx;
use crate::error::{Fail, go_io, text};
use crate::{glob, go_path};
use api::gostr::quote;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The extensions of manifests; other files of a folder are not read.
pub(crate) const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// The files that one `-f` means, which is a file, a folder or a pattern; each with the name that
/// errors have for it.
pub(crate) fn expand(ctx: &Ctx, file: &str) -> Result<Vec<(PathBuf, String)>, Fail> {
    let typed = match std::fs::metadata(ctx.path(file)) {
        // An empty name, as behind the comma of `-f a.yaml,`, would mean all files of the current
        // folder.
        _ if file.is_empty() => vec![],
        Ok(_) => vec![file.to_string()],
        Err(e) if e.kind() != ErrorKind::NotFound => {
            return text(format!("the path {} cannot be accessed: stat {file}: {}", quote(file), go_io(&e)));
        }
        Err(_) => glob::expand(&ctx.env.cwd, file)
            .map_err(|why| Fail::Text(format!("pattern {} is not valid: {why}", quote(file))))?,
    };
    if typed.is_empty() {
        return text(format!("the path {} does not exist", quote(file)));
    }
    let mut names = vec![];
    for path in typed {
        walk(&ctx.path(&path), Path::new(&path), ctx.flags.is("recursive"), &mut names)?;
    }
    Ok(names)
}

/// Returns whether `-f` and `-k` name one file, URL or kustomization, and not standard input, which
/// may have any number of documents. (`singleItemImplied` of `visitByPaths` in kubectl's builder.)
///
/// Example: true for `-f web.yaml`, and for a folder with one manifest; false for `-f -`, and for
/// `-f a.yaml -f b.yaml`.
pub(crate) fn names_one(ctx: &Ctx) -> bool {
    let count = |file: &String| match file.as_str() {
        "-" => 2,
        url if url.starts_with("http://") || url.starts_with("https://") => 1,
        file => expand(ctx, file).map_or(0, |names| names.len()),
    };
    let files = ctx.flags.list("filename");
    match ctx.flags.text("kustomize") {
        "" => files.iter().map(count).sum::<usize>() == 1,
        _ => files.is_empty(),
    }
}

fn walk(path: &Path, typed: &Path, deep: bool, found: &mut Vec<(PathBuf, String)>) -> Result<(), Fail> {
    // As with kubectl a link to a folder is no folder, unless a slash follows it.
    if !path.symlink_metadata().is_ok_and(|entry| entry.is_dir()) {
        found.push((path.into(), typed.display().to_string()));
        return Ok(());
    }
    // The entry's own kind: a link to a folder is not entered, as it may lead back here.
    let entry =
        |e: std::io::Result<std::fs::DirEntry>| e.and_then(|e| Ok((e.file_name(), e.file_type()?.is_dir())));
    let mut entries = std::fs::read_dir(path)?.map(entry).collect::<std::io::Result<Vec<_>>>()?;
    entries.sort();
    for (entry, is_dir) in entries {
        let (path, typed) = (path.join(&entry), typed.join(&entry).to_string_lossy().into_owned());
        let typed = PathBuf::from(go_path::clean(&typed));
        if is_dir {
            if deep {
                walk(&path, &typed, deep, found)?;
            }
        } else if matches!(path.extension().and_then(|e| e.to_str()), Some(kind) if EXTENSIONS.contains(&kind))
        {
            found.push((path, typed.display().to_string()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_folders_are_not_entered() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("deep")).unwrap();
        for file in ["a.yaml", "deep/b.yaml", "note.txt"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        for (to, link) in [(".", "x"), (".", "y"), ("..", "deep/up"), ("a.yaml", "c.yaml")] {
            std::os::unix::fs::symlink(to, dir.path().join(link)).unwrap();
        }
        let mut found = vec![];
        walk(dir.path(), Path::new("d"), true, &mut found).unwrap();
        let names: Vec<&str> = found.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["d/a.yaml", "d/c.yaml", "d/deep/b.yaml"]);
    }
}

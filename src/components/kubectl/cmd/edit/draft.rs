//! The file in which the user edits objects, from its first version to its removal.

use super::content::meant;
use crate::ctx::Ctx;
use crate::error::Fail;
use api::gostr::quote;
use std::path::PathBuf;

/// The file that the editor works on. It is removed unless it holds edits that no server has: also
/// when the command is interrupted (Ctrl-C, a terminal that closes) while the editor is open.
pub(super) struct Draft<'a> {
    ctx: &'a Ctx,
    /// The path of the file; each version has another one.
    pub path: PathBuf,
    /// What this command wrote to the file last.
    written: Option<String>,
    /// An earlier version of the file had edits of the user's.
    pub edited: bool,
    /// Nothing in the file is needed any more.
    pub done: bool,
    /// The user knows where the file is.
    pub path_printed: bool,
}

impl Draft<'_> {
    /// A draft whose file is not written yet.
    pub(super) fn new(ctx: &Ctx, as_json: bool) -> Draft<'_> {
        let path = Draft::fresh(ctx, if as_json { "json" } else { "yaml" });
        Draft { ctx, path, written: None, edited: false, done: false, path_printed: false }
    }

    /// A path that no file has had.
    fn fresh(ctx: &Ctx, extension: &str) -> PathBuf {
        let name = format!("kubectl-edit-{}.{extension}", uuid::Uuid::new_v4().as_u128() as u32);
        let folder = ctx.env.vars.get("TMPDIR").filter(|dir| !dir.is_empty());
        folder.map_or_else(std::env::temp_dir, PathBuf::from).join(name)
    }

    /// Writes the file for the editor. One that is opened again has another path, as upstream: some
    /// editors remember for each path at which line the user was, and the reason is at the top.
    pub(super) fn write(&mut self, text: &str) -> Result<(), Fail> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let ended = match self.ctx.flags.is("windows-line-endings") {
            // An edited text has `\r\n` already.
            true => text.replace("\r\n", "\n").replace('\n', "\r\n"),
            false => text.to_string(),
        };
        let path = match self.written {
            None => self.path.clone(),
            Some(_) => {
                let extension = self.path.extension().unwrap_or_default();
                Draft::fresh(self.ctx, &extension.to_string_lossy())
            }
        };
        let mut options = std::fs::OpenOptions::new();
        // A new file, as upstream: the folder is everyone's, and a link that another user put there
        // would lead the content of a Secret into that user's file.
        let mut file = options.create_new(true).write(true).mode(0o600).open(&path)?;
        if let Err(error) = file.write_all(ended.as_bytes()) {
            let _ = std::fs::remove_file(&path); // a part of the text; an older file has the edits
            return Err(error.into());
        }
        let before = std::mem::replace(&mut self.path, path);
        if before != self.path {
            let _ = std::fs::remove_file(before); // the new file has what it had
        }
        self.written = Some(text.to_string());
        Ok(())
    }

    /// Returns whether the user's edits are in the file: earlier ones, or some that the editor has
    /// saved since it was opened.
    fn has_edits(&self) -> bool {
        let Some(written) = &self.written else {
            return false;
        };
        let now = std::fs::read(&self.path);
        self.edited || now.is_ok_and(|now| meant(&String::from_utf8_lossy(&now)) != meant(written))
    }

    /// Ends the edit with a failure. A file with edits of the user stays, and its path is printed.
    pub(super) fn keep<T>(&mut self, fail: Fail) -> Result<T, Fail> {
        if self.has_edits() {
            self.print_path();
        }
        Err(fail)
    }

    /// Says where the file is, which then stays.
    fn print_path(&mut self) {
        self.ctx.note(format!("A copy of your changes has been stored to {}", self.quoted_path()));
        self.path_printed = true;
    }

    /// The file's path as errors and notes print it.
    pub(super) fn quoted_path(&self) -> String {
        quote(&self.path.display().to_string())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        let is_needed = !self.done && self.has_edits();
        if is_needed && !self.path_printed {
            self.print_path();
        } else if !is_needed && self.written.is_some() {
            let _ = std::fs::remove_file(&self.path); // the editor may have removed it
        }
    }
}

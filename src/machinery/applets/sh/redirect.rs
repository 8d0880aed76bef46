//! Redirections.

use super::{Flow, Shell, parse};
use brush_parser::ast::{IoFileRedirectKind as Kind, IoFileRedirectTarget as Target, IoRedirect, Word};
use linux::{fds, script_fds};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// The descriptors that numbers had before; `None`: it was closed.
pub(super) type Saved = Vec<(i32, Option<Rc<Kept>>)>;

/// The descriptor that a number had before a redirection. A child closes it
/// ([`Shell::close_saved`]).
pub(super) struct Kept(Cell<Option<OwnedFd>>);

/// Undoes redirections.
pub(super) fn restore_descriptors(saved: Saved) {
    for (number, before) in saved.into_iter().rev() {
        let _ = match before.map(|kept| kept.0.take()) {
            Some(Some(fd)) => script_fds::assign(number, fd.as_fd()),
            Some(None) => Ok(()), // a child has closed the descriptor
            None => script_fds::close(number),
        };
    }
}

/// Why a redirection failed; the text names the file.
enum Fault {
    Because(String),
    /// A trap that ran while a file was being opened jumped.
    Jump(Flow),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Because(super::reason(&error))
    }
}

/// A redirection whose words are expanded, and the number that it is for.
pub(super) struct Ready<'a>(i32, Act<'a>);

enum Act<'a> {
    Open(String, &'a Kind),
    /// Opens a file for standard output and standard error: `&>`.
    OpenBoth(String, &'a Kind),
    Duplicate(i32),
    Close,
    Text(String),
    Refuse(String),
}

impl Shell {
    /// Carries them out in order. `Ok(Err(…))` is the status of failure, and then nothing has
    /// changed.
    ///
    /// # Errors
    /// A jump: an expansion that ends the script, or a trap that ran meanwhile.
    pub(super) fn redirect<'a>(
        &mut self,
        redirects: impl Iterator<Item = &'a IoRedirect>,
    ) -> Result<Result<Saved, i32>, Flow> {
        let ready = self.expand_redirects(redirects)?;
        self.apply_redirects(ready)
    }

    /// Does what [`Shell::expand_redirects`] prepared; returns as [`Shell::redirect`].
    pub(super) fn apply_redirects(&mut self, redirects: Vec<Ready<'_>>) -> Result<Result<Saved, i32>, Flow> {
        let mut saved = Vec::new();
        for redirect in redirects {
            if let Err(fault) = self.apply_one(redirect, &mut saved) {
                restore_descriptors(saved);
                return match fault {
                    Fault::Because(text) => {
                        self.print_error(text);
                        Ok(Err(2))
                    }
                    Fault::Jump(flow) => Err(flow),
                };
            }
        }
        self.saved.retain(|kept| kept.strong_count() > 0);
        self.saved.extend(saved.iter().filter_map(|(_, before)| before.as_ref()).map(Rc::downgrade));
        Ok(Ok(saved))
    }

    /// Closes the saved descriptors of the parent. A child never undoes the redirections of its
    /// parent. With what they hide it would keep a pipe open whose end its reader waits for:
    /// `kubectl exec POD -- sh -c '(sleep 9) >/dev/null &'` ends at once.
    pub(super) fn close_saved(&mut self) {
        for kept in self.saved.drain(..).filter_map(|kept| kept.upgrade()) {
            drop(kept.0.take());
        }
    }

    fn apply_one(&mut self, Ready(number, act): Ready<'_>, saved: &mut Saved) -> Result<(), Fault> {
        if number >= script_fds::COUNT {
            let last = script_fds::COUNT - 1;
            return Err(Fault::Because(format!("{number}: this shell has descriptors 0 to {last} only")));
        }
        match act {
            Act::Open(name, kind) => {
                let file = self.open(&name, kind)?;
                assign_descriptor(file, number, saved)
            }
            Act::OpenBoth(name, kind) => {
                let file = self.open(&name, kind)?;
                assign_descriptor(file, 1, saved)?;
                duplicate_descriptor(1, 2, saved)
            }
            Act::Duplicate(from) => duplicate_descriptor(from, number, saved),
            Act::Close => {
                save_descriptor(number, saved)?;
                Ok(script_fds::close(number)?)
            }
            Act::Text(text) => assign_descriptor(fds::memory_file(text.as_bytes())?, number, saved),
            Act::Refuse(text) => Err(Fault::Because(text)),
        }
    }

    /// Expands names of files, numbers and here-documents; changes no descriptor.
    ///
    /// # Errors
    /// An expansion that ends the script, such as `${x:?}`.
    pub(super) fn expand_redirects<'a>(
        &mut self,
        redirects: impl Iterator<Item = &'a IoRedirect>,
    ) -> Result<Vec<Ready<'a>>, Flow> {
        redirects.map(|redirect| self.expand_redirect(redirect)).collect()
    }

    fn expand_redirect<'a>(&mut self, redirect: &'a IoRedirect) -> Result<Ready<'a>, Flow> {
        Ok(match redirect {
            IoRedirect::File(number, kind, target) => {
                let writes =
                    matches!(kind, Kind::Write | Kind::Append | Kind::Clobber | Kind::DuplicateOutput);
                let duplicates = matches!(kind, Kind::DuplicateInput | Kind::DuplicateOutput);
                let act = match target {
                    Target::Fd(from) => Act::Duplicate(*from),
                    Target::Duplicate(word) | Target::Filename(word) if duplicates => {
                        let both = matches!(kind, Kind::DuplicateOutput) && number.is_none_or(|n| n == 1);
                        self.expand_duplicate(word, both)?
                    }
                    Target::Duplicate(word) => self.expand_duplicate(word, false)?,
                    Target::Filename(word) => Act::Open(self.expand_to_string(&word.value)?, kind),
                    Target::ProcessSubstitution(..) => {
                        Act::Refuse("<(…): not implemented by this shell".into())
                    }
                };
                Ready(number.unwrap_or(i32::from(writes)), act)
            }
            IoRedirect::HereDocument(number, here) => {
                let act = if here.requires_expansion {
                    let text = join_continued_lines(&here.doc.value);
                    match parse::here_document(&text, self.stack) {
                        Ok(pieces) => Act::Text(self.here_text(&pieces)?),
                        Err(e) => Act::Refuse(format!("bad substitution: {e}")),
                    }
                } else {
                    Act::Text(here.doc.value.clone())
                };
                Ready(number.unwrap_or(0), act)
            }
            IoRedirect::HereString(number, word) => {
                Ready(number.unwrap_or(0), Act::Text(self.expand_to_string(&word.value)? + "\n"))
            }
            IoRedirect::OutputAndError(word, append) => {
                let kind = if *append { &Kind::Append } else { &Kind::Write };
                Ready(1, Act::OpenBoth(self.expand_to_string(&word.value)?, kind))
            }
        })
    }

    /// Expands the word behind `>&` or `<&`. With `both`, a word that is no number is a file for
    /// standard output and standard error, as in busybox and bash: `>&log` is `&>log`.
    fn expand_duplicate<'a>(&mut self, word: &Word, both: bool) -> Result<Act<'a>, Flow> {
        let from = self.expand_to_string(&word.value)?;
        let is_number = from.bytes().all(|b| b.is_ascii_digit());
        Ok(match from.parse() {
            _ if from == "-" => Act::Close,
            Ok(from) => Act::Duplicate(from),
            Err(_) if both && !is_number => Act::OpenBoth(from, &Kind::Write),
            Err(_) => Act::Refuse(format!("bad descriptor number {from:?}")),
        })
    }

    /// Opens a file. Opening a FIFO may take for ever: a trap runs meanwhile, and may end it.
    fn open(&mut self, name: &str, kind: &Kind) -> Result<OwnedFd, Fault> {
        let how = match kind {
            Kind::Append => OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT,
            Kind::Write
                if self.state.is_flag_set('C') && std::fs::metadata(name).is_ok_and(|m| m.is_file()) =>
            {
                OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL
            }
            Kind::Write | Kind::Clobber => OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC,
            Kind::ReadAndWrite => OFlag::O_RDWR | OFlag::O_CREAT,
            Kind::Read | Kind::DuplicateInput | Kind::DuplicateOutput => OFlag::O_RDONLY,
        };
        loop {
            match nix::fcntl::open(name, how | OFlag::O_CLOEXEC, Mode::from_bits_truncate(0o666)) {
                Ok(file) => return Ok(file),
                Err(Errno::EINTR) => self.run_traps().map_err(Fault::Jump)?,
                Err(e) => return Err(Fault::Because(cannot_open(kind, name, &e.into()))),
            }
        }
    }
}

/// Joins the lines of a here-document of which the first ends in a backslash.
fn join_continued_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('\n')) => {}
            (c, next) => {
                out.push(c);
                out.extend(next);
            }
        }
    }
    out
}

fn cannot_open(kind: &Kind, name: &str, error: &io::Error) -> String {
    let reads = matches!(kind, Kind::Read);
    let reason = match error.kind() {
        io::ErrorKind::NotFound if reads => "no such file".to_string(),
        io::ErrorKind::NotFound => "nonexistent directory".to_string(),
        _ => super::reason(error),
    };
    format!("can't {} {name}: {reason}", if reads { "open" } else { "create" })
}

fn save_descriptor(number: i32, saved: &mut Saved) -> io::Result<()> {
    if !saved.iter().any(|(known, _)| *known == number) {
        let before = script_fds::save(number)?;
        saved.push((number, before.map(|fd| Rc::new(Kept(Cell::new(Some(fd)))))));
    }
    Ok(())
}

fn assign_descriptor(fd: OwnedFd, number: i32, saved: &mut Saved) -> Result<(), Fault> {
    let fd = script_fds::above(fd)?; // first, so that it is not itself under `number`
    save_descriptor(number, saved)?;
    Ok(script_fds::assign(number, fd.as_fd())?)
}

fn duplicate_descriptor(from: i32, number: i32, saved: &mut Saved) -> Result<(), Fault> {
    save_descriptor(number, saved)?;
    script_fds::duplicate(from, number).map_err(|e| Fault::Because(format!("{from}: {}", super::reason(&e))))
}

//! Redirections.

use super::Shell;
use super::parse;
use crate::linux::{fds, script_fds};
use brush_parser::ast::{IoFileRedirectKind as Kind, IoFileRedirectTarget as Target, IoRedirect, Word};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// What numbers meant before; `None` was closed.
pub type Saved = Vec<(i32, Option<OwnedFd>)>;

/// Undoes redirections.
pub fn restore(saved: Saved) {
    for (number, before) in saved.into_iter().rev() {
        let _ = match before {
            Some(fd) => script_fds::assign(number, fd.as_fd()),
            None => script_fds::close(number),
        };
    }
}

/// Why a redirection failed; the complaint names the file.
enum Fault {
    /// Already complained about.
    Told,
    Because(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Because(super::reason(&error))
    }
}

impl Shell {
    /// Carries them out in order. `Err` is the status of failure, and then nothing has changed.
    pub fn redirect<'a>(&mut self, redirects: impl Iterator<Item = &'a IoRedirect>) -> Result<Saved, i32> {
        let mut saved = Vec::new();
        for redirect in redirects {
            if let Err(fault) = self.redirect_one(redirect, &mut saved) {
                restore(saved);
                if let Fault::Because(text) = fault {
                    self.complain(text);
                }
                return Err(2);
            }
        }
        Ok(saved)
    }

    fn redirect_one(&mut self, redirect: &IoRedirect, saved: &mut Saved) -> Result<(), Fault> {
        match redirect {
            IoRedirect::File(number, kind, target) => {
                let writes =
                    matches!(kind, Kind::Write | Kind::Append | Kind::Clobber | Kind::DuplicateOutput);
                let number = number.map_or(i32::from(writes), |n| n);
                match target {
                    Target::Fd(from) => duplicate(*from, number, saved),
                    Target::Duplicate(word) => self.duplicate_word(word, number, saved),
                    Target::Filename(word)
                        if matches!(kind, Kind::DuplicateInput | Kind::DuplicateOutput) =>
                    {
                        self.duplicate_word(word, number, saved)
                    }
                    Target::Filename(word) => {
                        let name = self.one(&word.value).map_err(|_| Fault::Told)?;
                        let opened = self.open(&name, kind);
                        let file = opened.map_err(|e| Fault::Because(cannot_open(kind, &name, &e)))?;
                        assign(file, number, saved)
                    }
                    Target::ProcessSubstitution(..) => {
                        Err(Fault::Because("<(…): not implemented by this shell".into()))
                    }
                }
            }
            IoRedirect::HereDocument(number, here) => {
                let text = if here.requires_expansion {
                    let pieces = brush_parser::word::parse_heredoc(&here.doc.value, &parse::options())
                        .map_err(|e| Fault::Because(format!("bad substitution: {e}")))?;
                    self.here_text(&pieces).map_err(|_| Fault::Told)?
                } else {
                    here.doc.value.clone()
                };
                assign(fds::memory_file(text.as_bytes())?, number.unwrap_or(0), saved)
            }
            IoRedirect::HereString(number, word) => {
                let text = self.one(&word.value).map_err(|_| Fault::Told)? + "\n";
                assign(fds::memory_file(text.as_bytes())?, number.unwrap_or(0), saved)
            }
            IoRedirect::OutputAndError(..) => Err(Fault::Because("&>: not implemented by this shell".into())),
        }
    }

    fn duplicate_word(&mut self, word: &Word, number: i32, saved: &mut Saved) -> Result<(), Fault> {
        let from = self.one(&word.value).map_err(|_| Fault::Told)?;
        if from == "-" {
            save(number, saved)?;
            return Ok(script_fds::close(number)?);
        }
        let from = from.parse().map_err(|_| Fault::Because(format!("bad descriptor number {from:?}")))?;
        duplicate(from, number, saved)
    }

    fn open(&self, name: &str, kind: &Kind) -> io::Result<OwnedFd> {
        let mut how = File::options();
        match kind {
            Kind::Append => how.append(true).create(true),
            Kind::Write if self.state.flag('C') && std::fs::metadata(name).is_ok_and(|m| m.is_file()) => {
                how.write(true).create_new(true)
            }
            Kind::Write | Kind::Clobber => how.write(true).create(true).truncate(true),
            Kind::ReadAndWrite => how.read(true).write(true).create(true).truncate(false),
            Kind::Read | Kind::DuplicateInput | Kind::DuplicateOutput => how.read(true),
        };
        Ok(how.open(name)?.into())
    }
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

fn save(number: i32, saved: &mut Saved) -> io::Result<()> {
    if !saved.iter().any(|(known, _)| *known == number) {
        saved.push((number, script_fds::save(number)?));
    }
    Ok(())
}

fn assign(fd: OwnedFd, number: i32, saved: &mut Saved) -> Result<(), Fault> {
    let fd = script_fds::above(fd)?; // first, so that it is not itself under `number`
    save(number, saved)?;
    Ok(script_fds::assign(number, fd.as_fd())?)
}

fn duplicate(from: i32, number: i32, saved: &mut Saved) -> Result<(), Fault> {
    save(number, saved)?;
    script_fds::duplicate(from, number).map_err(|e| Fault::Because(format!("{from}: {}", super::reason(&e))))
}

//! The image `kv`: a small key-value server that speaks the everyday part of Redis' protocol, and
//! its client. It is no Redis: one database, texts, hashes, lists and sets, no passwords, no
//! replication, no scripts.
//!
//! `resp` reads requests, `commands` runs them on the data of `store`, `log` keeps what they have
//! changed on a disk, and `serve` has the connections. A reply is sent when its change is on the
//! disk.

mod cli;
mod client;
mod commands;
#[cfg(test)]
mod fuzz;
mod log;
mod resp;
mod serve;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use cli::main as cli;
pub(crate) use client::{Client, Reply};

use super::daemon;
use log::Log;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use store::Database;

/// The port of Redis.
pub(crate) const PORT: u16 = 6379;
/// Used without `--dir`, if it is there.
const DIRECTORY: &str = "/data";

const HELLO: &str = "kv-server: a small key-value server of Ropewalk; speaks a part of Redis' protocol";
const USAGE: &str = "Usage: kv-server [--port PORT] [--dir DIR]

A small key-value server of Ropewalk; speaks a part of Redis' protocol.

  --port PORT  listen on this port (6379)
  --dir DIR    keep the data in DIR, on the disk before each reply
               (/data if there is one; else the data is in memory only)
";

#[derive(Debug, PartialEq, Eq)]
struct Call {
    port: u16,
    dir: Option<PathBuf>,
}

/// `None` for `--help`.
fn parse(args: &[String]) -> Result<Option<Call>, String> {
    let mut call = Call { port: PORT, dir: None };
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (word.as_str(), None),
        };
        let mut value = || value.clone().or_else(|| words.next().cloned());
        match name {
            "--help" => return Ok(None),
            "--port" => call.port = daemon::parse_port(Some(&value().unwrap_or_default()), PORT)?,
            "--dir" => match value() {
                Some(dir) => call.dir = Some(dir.into()),
                None => return Err("--dir needs a directory".into()),
            },
            _ => return Err(format!("unknown option {word:?}; see kv-server --help")),
        }
    }
    Ok(Some(call))
}

/// `kv-server [--port PORT] [--dir DIR]`. Exit code 1 for errors, 0 after TERM or INT.
pub(crate) fn server(args: Vec<OsString>) -> i32 {
    let args = crate::arguments_as_text(args);
    let call = match parse(&args) {
        Ok(Some(call)) => call,
        Ok(None) => {
            super::write_stdout(USAGE);
            return 0;
        }
        Err(e) => {
            super::write_stderr(&format!("kv-server: {e}\n"));
            return 1;
        }
    };
    let dir = call.dir.or_else(|| Some(PathBuf::from(DIRECTORY)).filter(|dir| dir.is_dir()));
    let (db, log) = match load(dir.as_deref()) {
        Ok(loaded) => loaded,
        Err(e) => {
            super::write_stderr(&format!("kv-server: {e}\n"));
            return 1;
        }
    };
    daemon::serve("kv-server", serve::run(call.port, db, log))
}

/// Says who it is, and reads the data.
fn load(dir: Option<&Path>) -> Result<(Database, Option<Log>), String> {
    let mut db = Database::default();
    let Some(dir) = dir else {
        super::write_stdout(&format!("{HELLO}; no {DIRECTORY}: the data is in memory only\n"));
        return Ok((db, None));
    };
    super::write_stdout(&format!("{HELLO}; the data is in {}\n", dir.display()));
    let log = Log::open(dir, &mut db, |notice| super::write_stdout(&format!("kv-server: {notice}\n")))?;
    super::write_stdout(&format!("kv-server: {} keys, {} bytes on the disk\n", db.len(), log.size()));
    Ok((db, Some(log)))
}

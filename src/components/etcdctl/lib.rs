//! # etcdctl: the store from the outside
//!
//! ## In Kubernetes
//! Administrators use etcdctl on a control-plane node where kubectl cannot help: to look at what
//! the API server really stores, to see who leads, to save a snapshot before an upgrade. It speaks
//! gRPC to the members, with certificates of etcd's own authority.
//! ## How this one works
//! [`table`] is the one table of verbs and flags; parsing, help and dispatch derive from it. A verb
//! is an async function over a [`ctx::Ctx`], in `cmd`. [`wire`] finds a member that answers and
//! calls it with the messages of `etcd::pb`, as any client would; it does not know whether that
//! member is one of this program or a real etcd. [`out`] prints answers in the formats of `-w`.
//! `ropewalk etcdctl` and the REPL hand in the cluster's endpoints and certificates ([`Preset`]);
//! flags and the `ETCDCTL_…` variables go before them. The oracle is etcdctl 3.4: `tests/it/etcd`
//! runs both against the same store and compares, except for what 3.6 answers otherwise.
//! ## Left out
//! Users and roles, changes of members (they follow the control-plane nodes), `snapshot restore`,
//! `make-mirror`, `check`, `completion`, `downgrade`, `migrate`, interactive watches, the format
//! `protobuf`; each says so. The global flags for users, for DNS discovery, and for the keep-alive
//! and message sizes of the connection are unknown flags. `ETCDCTL_DISCOVERY_SRV` is refused.
//! What 3.4 and 3.6 answer differently is answered as by 3.6, such as the columns of `endpoint`.
//! `snapshot status` stays here and answers as etcdutl, which has it in 3.6. `get --count-only` is
//! for JSON, too. Help is in our own words. Log lines of etcd's client library are not printed. A
//! value that is no UTF-8 cannot be written in a line of `txn`; `put` reads it from its input.
//! A flag goes before its variable, and a variable that cannot be read is an error: etcdctl refuses
//! the two together, and passes over the latter. `get` takes no third word, `watch` neither, and
//! nothing may follow a comparison of `txn`, where etcdctl passes over what is too much. A word in
//! single quotes in a line of `txn` is whole, where etcdctl cuts it.
//! If no endpoint can be reached, each breaks the connection, or none answers on it within
//! `--dial-timeout`, the command fails at once and names the reason. etcdctl waits for one,
//! `--command-timeout` long, and in `txn`, `watch`, `lock`, `elect` and some verbs of leases
//! without end. An endpoint is `http`, `https` or has no scheme: sockets (`unix`) are not known,
//! and an `https` server needs `--cacert`, as the authorities of the system are not asked.
//! Arguments have to be UTF-8.
//! ## Read next
//! `etcd`, which answers; `cmd/keys.rs`, the verbs to start with.

#![warn(missing_docs)]

mod cmd;
mod ctx;
mod fail;
mod flags;
mod given;
mod io;
mod out;
mod parse;
mod preset;
pub mod table;
#[cfg(test)]
mod tests;
mod version;
mod wire;

pub use preset::Preset;

use ctx::Ctx;
use fail::{Fail, INTERRUPTED};
use io::Io;
use linux::trap;
use parse::Found;
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Whether a command line, without the program's name, talks to a store. One that cannot be read
/// does not: its error is told without one.
pub fn needs_a_store(words: &[String]) -> bool {
    match parse::parse(words) {
        Ok(Found::Command(verb, _)) => verb.uses_store(),
        Ok(Found::Help(_)) | Err(_) => false,
    }
}

/// Runs a command line on the streams of a test; `args[0]` is the program's name. Returns the exit
/// code.
#[cfg(test)]
async fn run(args: Vec<String>, io: Io, preset: Preset) -> i32 {
    run_parsed(parse::parse(args.get(1..).unwrap_or_default()), io, preset).await
}

async fn run_parsed(parsed: Result<Found, Fail>, mut io: Io, preset: Preset) -> i32 {
    let cancel = io.cancel.clone();
    let result = match parsed {
        Ok(Found::Help(text)) => out::write(&mut *io.stdout, text.as_bytes()).await,
        Ok(Found::Command(verb, given)) => {
            match Ctx::new(given, &mut io, preset, verb.uses_store()) {
                Ok(mut ctx) => {
                    let interrupted = async {
                        cancel.cancelled().await;
                        Err(Fail::new(INTERRUPTED, ""))
                    };
                    // verbs that tidy up behind themselves listen to the cancellation on their own
                    match verb.tidies {
                        true => (verb.run)(&mut ctx).await,
                        false => tokio::select! {
                            done = (verb.run)(&mut ctx) => done,
                            cut = interrupted => cut,
                        },
                    }
                }
                Err(fail) => Err(fail),
            }
        }
        Err(fail) => Err(fail),
    };
    let _ = io.stdout.flush().await; // the reader may be gone
    let Err(fail) = result else { return 0 };
    if !fail.text.is_empty() {
        let _ = io.stderr.write_all(format!("Error: {}\n", fail.text).as_bytes()).await;
        let _ = io.stderr.flush().await;
    }
    fail.code
}

/// Waits for SIGINT, and for SIGTERM if `heeds_term`; else SIGTERM ends the process, as always.
async fn interrupted(heeds_term: bool) -> std::io::Result<()> {
    let mut term = match heeds_term {
        true => Some(signal(SignalKind::terminate())?),
        false => None,
    };
    let terminated = async {
        match &mut term {
            Some(term) => term.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        heard = tokio::signal::ctrl_c() => heard,
        _ = terminated => Ok(()),
    }
}

/// Runs a command line on this process' own streams, within a runtime.
pub async fn on_stdio(args: Vec<String>, preset: Preset) -> i32 {
    let parsed = parse::parse(args.get(1..).unwrap_or_default());
    // As etcdctl: `lock` and `elect` let go of what they hold, every other verb just ends.
    let tidies = matches!(&parsed, Ok(Found::Command(verb, _)) if verb.tidies);
    // A script's background job ignores Ctrl-C, which is for the program in front. What `lock` and
    // `elect` hold they let go even then.
    let interrupt = SignalKind::interrupt().as_raw_value();
    let heeds_interrupt = tidies || !trap::is_ignored(interrupt);
    let cancel = CancellationToken::new();
    let canceled = cancel.clone();
    let mut signals = JoinSet::new(); // ends with this call
    signals.spawn(async move {
        if heeds_interrupt && interrupted(tidies).await.is_ok() {
            canceled.cancel();
        }
    });
    let io = Io {
        stdin: Box::new(tokio::io::stdin()),
        is_typed: std::io::IsTerminal::is_terminal(&std::io::stdin()),
        stdout: Box::new(tokio::io::stdout()),
        stderr: Box::new(tokio::io::stderr()),
        cancel,
    };
    let code = run_parsed(parsed, io, preset).await;
    if code == INTERRUPTED && !tidies {
        // As etcdctl, which does not catch it. After an exit code the shell's loop would go on.
        linux::signal::end_by(interrupt);
    }
    code
}

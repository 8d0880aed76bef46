//! # The command line
//!
//! ## In Kubernetes
//! kubectl, kubeadm and a dozen tools beside them.
//! ## How this one works
//! One program, one table of commands ([`args`]); each does its work in a room below and turns the outcome into a text and an exit code: 0 ok, 1 failed, 2 usage.
//! ## Left out
//! `class`: it comes with the room that does its work.
//! ## Read next
//! `cluster`, which `up` starts.

pub mod args;
mod clusters;
mod doctor;
mod lab;
mod lesson;
mod trace;
mod undo;
mod usage;
mod why;

use crate::lang::charset::{self, eprint, eprintln, print, println};
use crate::ui::repl::Options;
use args::{Args, Command};
use clap::Parser;
use std::ffi::OsString;
use std::path::PathBuf;

/// Whoever reads our output may stop reading (`… | head`): that ends us quietly, as it ends every program.
fn end_with_the_reader() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload().downcast_ref::<String>().map(String::as_str).unwrap_or_default();
        if said.starts_with("failed printing to std") {
            std::process::exit(141);
        }
        others(panic);
    }));
}

/// Runs one command line and returns the exit code.
pub fn run(args: Vec<OsString>) -> i32 {
    end_with_the_reader();
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            match usage::told(&error) {
                Some(text) => eprintln!("{text}"),
                None if charset::ascii_only() && error.use_stderr() => eprint!("{error}"),
                None if charset::ascii_only() => print!("{error}"),
                None => _ = error.print(), // a closed terminal needs no text
            }
            return error.exit_code();
        }
    };
    if let Some(Command::Doctor { output }) = &args.command {
        return finish(doctor::doctor(*output)); // before there are threads
    }
    if let Some(Command::Bench { what, runs, output, peer_kubeconfig, inside }) = &args.command {
        let peer = peer_kubeconfig.as_deref();
        return finish(bench(what, *runs, *output, peer, inside.clone())); // likewise
    }
    block_on(dispatch(args))
}

fn bench(
    what: &[crate::bench::What],
    runs: Option<usize>,
    output: Option<args::Output>,
    peer: Option<&std::path::Path>,
    inside: Option<PathBuf>,
) -> anyhow::Result<i32> {
    match (inside, what) {
        (Some(dir), [what]) => crate::bench::inside(dir, *what, runs),
        _ => crate::bench::run(what, runs, peer, output == Some(args::Output::Json)).map(|()| 0),
    }
}

/// Runs `etcdctl` under its own name: on the cluster that `KUBECONFIG` belongs to, else on `main`.
pub fn etcdctl(words: Vec<String>) -> i32 {
    end_with_the_reader();
    block_on(clusters::etcdctl_alone(words))
}

fn block_on(work: impl Future<Output = anyhow::Result<i32>>) -> i32 {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("ropewalk: cannot start: {error}");
            return 1;
        }
    };
    let result = runtime.block_on(work);
    // A thread may still wait for a key that never comes.
    runtime.shutdown_background();
    finish(result)
}

fn finish(result: anyhow::Result<i32>) -> i32 {
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ropewalk: {}", usage::reason(&error));
            1
        }
    }
}

async fn dispatch(args: Args) -> anyhow::Result<i32> {
    match args.command {
        Some(Command::Up(up)) => clusters::up(up).await,
        Some(Command::Down { name }) => clusters::down(&name).await,
        Some(Command::Status { name, output }) => clusters::status(&name, output).await,
        Some(Command::Reset { name, yes }) => clusters::reset(&name, yes).await,
        Some(Command::Kubeconfig { name, merge }) => clusters::kubeconfig(&name, merge),
        Some(Command::Fault { command, name }) => clusters::fault(&name, command).await,
        Some(Command::Lesson { command, kubeconfig, lessons, name, lang }) => {
            lesson::run(command, kubeconfig, lessons, &name, lang).await
        }
        Some(Command::Lab { command, labs, name, lang }) => lab::run(command, labs, &name, lang).await,
        Some(Command::Trace { what, name, output }) => trace::trace(&name, what, output).await,
        Some(Command::Why { about, namespace, lang, name, output }) => {
            why::why(&name, about, namespace, lang, output).await
        }
        Some(Command::Undo { count, list, yes, name, output }) => {
            let what = if list { undo::What::List } else { undo::What::Undo(count.into()) };
            undo::run(&name, what, yes, output).await
        }
        Some(Command::Redo { name, output }) => undo::run(&name, undo::What::Redo, true, output).await,
        Some(Command::Rewind { to, yes, name, output }) => {
            undo::run(&name, undo::What::Rewind(to), yes, output).await
        }
        Some(Command::Doctor { output }) => doctor::doctor(output),
        Some(Command::Bench { what, runs, output, peer_kubeconfig, inside }) => {
            bench(&what, runs, output, peer_kubeconfig.as_deref(), inside)
        }
        Some(Command::Version) => {
            println!("ropewalk {} (Kubernetes {})", env!("CARGO_PKG_VERSION"), crate::cluster::version());
            Ok(0)
        }
        Some(Command::Completion { shell }) => {
            let mut command = <Args as clap::CommandFactory>::command();
            let mut script = Vec::new(); // its writer may not fail, and a reader may leave
            clap_complete::generate(shell, &mut command, "ropewalk", &mut script);
            std::print!("{}", String::from_utf8_lossy(&script));
            Ok(0)
        }
        Some(Command::Kubectl { name, words }) => clusters::kubectl(&name, words).await,
        Some(Command::Etcdctl { name, words }) => clusters::etcdctl(&name, words).await,
        Some(Command::Repl { lines, file, kubeconfig, in_pane, seat }) => {
            let kubeconfig = absolute(kubeconfig)?;
            clusters::seat(seat, |o| Options { lines, file, kubeconfig, in_pane, plain: true, ..o }).await
        }
        Some(Command::Learn { lesson, kubeconfig, seat }) => {
            let kubeconfig = absolute(kubeconfig)?;
            clusters::seat(seat, |o| Options { lesson, kubeconfig, ..o }).await
        }
        None => clusters::seat(args.seat, |o| o).await,
    }
}

/// A file's path that outlives a change of directory.
fn absolute(path: Option<PathBuf>) -> anyhow::Result<Option<PathBuf>> {
    Ok(path.map(std::path::absolute).transpose()?)
}

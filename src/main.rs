//! # Ropewalk
//!
//! One program that holds a whole Kubernetes cluster and teaches it: one file, many roles, decided
//! by how it was called.
//!
//! A room is a crate, a floor is a folder. A room depends on rooms of lower floors only, and who
//! may depend on whom is the rule for who talks to whom in Kubernetes: Cargo forbids the rest,
//! `tests/it/floors.rs` what Cargo cannot say. Each room's `lib.rs` opens as a chapter of the book.
//!
//! | floor | rooms |
//! |---|---|
//! | `src/ground` | lang, clock, linux, rng, tap, task, pki, golden: languages of the texts, time, system calls (the only `unsafe`), random numbers, records, owned tasks, certificates, scripts of decisions for tests |
//! | `src/machinery` | raft, api, cri, cni, applets: what knows nothing of a running cluster |
//! | `src/foundation` | etcd, client, runtime, net: what components stand on |
//! | `src/components` | apiserver, scheduler, controllers, kubelet, proxy, addons, kubectl, etcdctl: they meet through the API only |
//! | `src/cluster` | wires them, and is the only room that constructs them |
//! | `src/lab` | lessons, graded labs, checks, `why` |
//! | `src/ui`, `src/bench` | the REPL and the terminal interface; the figures |
//! | `src/cli` | arguments and exit codes |

#![warn(missing_docs)]

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let text = |at: usize| args.get(at).map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    // In a container this binary is `nginx`, `pause`, …: before anything that such a small program
    // does not need.
    let name = Path::new(&text(0)).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some(code) = applets::run(&name, args.clone()) {
        return exit(code);
    }
    if text(1) == runtime::zygote::ZYGOTE_ARGUMENT {
        return exit(runtime::zygote::main(&text(2)));
    }
    if text(1) == cluster::launch::SUPERVISE_ARGUMENT {
        return exit(cluster::boot::supervise(&text(2), lab::guests));
    }
    if text(1) == cluster::wipe::WIPE_ARGUMENT {
        return exit(cluster::wipe::inside(Path::new(&text(2))));
    }
    if name == "kubectl" {
        return exit(words(args).map_or(1, kubectl::main_with_stdio));
    }
    if name == "etcdctl" {
        return exit(words(args.into_iter().skip(1)).map_or(1, cli::etcdctl));
    }
    exit(cli::run(args))
}

/// The words of a command line. One that is not UTF-8 is refused: to change its bytes would store
/// other data than was given.
fn words(args: impl IntoIterator<Item = OsString>) -> Option<Vec<String>> {
    let words: Result<Vec<String>, OsString> = args.into_iter().map(OsString::into_string).collect();
    words
        .inspect_err(|word| eprintln!("error: an argument is not valid UTF-8, and cannot be taken: {word:?}"))
        .ok()
}

fn exit(code: i32) -> ExitCode {
    ExitCode::from(code as u8)
}

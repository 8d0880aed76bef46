//! # Programs inside built-in images
//!
//! ## In Kubernetes
//! An image brings its programs along. Those of most teaching examples are a web server and a shell
//! with small tools.
//! ## How this one works
//! The programs are this binary under another name: a container's `/bin/nginx` is a hard link to
//! it, and `main` asks [`run`] before anything else. So a pod costs no image, and a hundred of them
//! share their pages. [`mod@sh`] is the shell, `uutils` the table of programs that the uutils
//! project wrote, `daemon` what all servers have in common, `kv` a key-value server with its
//! client, `shop` the parts of a small shop, `awk` the language, `curl` the HTTP client,
//! `sed_script` and `grep` mend what uutils' sed and grep misread, and every other file is one
//! small program of our own. Several of them share `http` (with `tls`), `resolve` (names to
//! addresses), `deadline` and `stdio`.
//! ## Left out
//! Programs that are not in the table below. In `sed`, of GNU's extensions: a number together with
//! `g` (`s/a/b/2g` is an error), and a change of case in a replacement (`\U`, `\L`, `\u`, `\l` and
//! `\E` come out as text), and `-z`, which is refused. Of two alternatives that match, `sed` takes
//! the first, not the longest (`s/a\|ab/x/`). Its `[[:alpha:]]` and the other classes are those of
//! ASCII; `^` and `$` in a group are the ends of the whole text, also with `M`; `2,3c x` prints no
//! text, because the range ends at a number; what `w /dev/stdout` writes comes last. A script of
//! `sed` has at most 500 000 commands and 1000 blocks inside each other. A script or patterns that
//! come through a pipe (`sed -f -`, `grep -f -`) are read as they are, with the faults that
//! `sed_script` and `grep` list. `xargs -t` shows the environment with each command, and there is
//! no `xargs -p`.
//! ## Read next
//! `runtime::images`, which lists the links of each image.

#![warn(missing_docs)]

use linux::{accounts, trap};
use std::ffi::OsString;
use stdio::{arguments_as_text, reason, write_stderr, write_stdout};

mod archive;
mod awk;
mod curl;
mod daemon;
mod deadline;
mod echo_server;
mod grep;
mod hexdump;
mod http;
mod kv;
mod nc;
mod net_tables;
mod nginx;
mod nslookup;
mod pause;
mod ping;
mod procs;
mod resolve;
mod sed_script;
mod sh;
mod shop;
mod small;
mod stdio;
mod tls;
mod uutils;
mod wget;

/// A program: arguments (with its name first) in, exit code out.
type Applet = fn(Vec<OsString>) -> i32;

/// Programs that SIGPIPE ends when the reader of their output is gone, as users expect of
/// `ps | head`. Rust ignores SIGPIPE otherwise, and its `println!` panics then. Not `nc`: `nc -lk`
/// outlives a client that closes early. `curl` and the servers go on too, and write with
/// [`write_stdout`] and [`write_stderr`]; uutils' programs set the signal themselves.
const ENDED_BY_ITS_READER: [&str; 26] = [
    "awk", "clear", "find", "free", "gunzip", "gzip", "hd", "hexdump", "hostname", "ifconfig", "ip",
    "kv-cli", "less", "more", "netstat", "nslookup", "ping", "ps", "stress", "tar", "top", "watch", "wget",
    "which", "xargs", "zcat",
];

/// Programs that look up users or groups by name or number with glibc's functions.
const LOOK_UP_ACCOUNTS: [&str; 6] = ["chown", "find", "id", "ls", "stat", "whoami"];

/// Signals that Rust's runtime catches, to say that a stack overflows. Its handler takes the first
/// one that another process sends for no such fault and goes on: `kill -SEGV` would have no effect.
const CAUGHT_BY_RUST: [i32; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// Runs the program of that name and returns its exit code; `None` if it is no applet. At most once
/// in a process, except for `curl`, which any program may call: it changes nothing of the process
/// and starts no thread.
pub fn run(name: &str, args: Vec<OsString>) -> Option<i32> {
    let applet = find(name)?;
    if ENDED_BY_ITS_READER.contains(&name) {
        let _ = trap::set(libc::SIGPIPE, trap::Action::Default);
    }
    if LOOK_UP_ACCOUNTS.contains(&name) {
        accounts::look_up_in_files_only();
    }
    if name != "curl" {
        for signal in CAUGHT_BY_RUST.into_iter().filter(|signal| !trap::is_ignored(*signal)) {
            let _ = trap::set(signal, trap::Action::Default);
        }
    }
    Some(applet(args))
}

/// Returns whether there is a program of that name.
pub fn exists(name: &str) -> bool {
    find(name).is_some()
}

fn find(name: &str) -> Option<Applet> {
    Some(match name {
        "sh" | "ash" | "bash" | "-sh" | "-ash" | "-bash" => sh::main,
        "awk" => awk::main,
        "busybox" => small::busybox,
        "clear" => small::clear,
        "curl" => curl::main,
        "echo-server" => echo_server::main,
        "false" => |_| 1,
        "free" => procs::free,
        "gunzip" | "gzip" | "zcat" => archive::gzip,
        "hd" | "hexdump" => hexdump::main,
        "hostname" => small::hostname,
        "ifconfig" => net_tables::ifconfig,
        "ip" => net_tables::ip,
        "kv-cli" => kv::cli,
        "kv-server" => kv::server,
        "less" | "more" => small::more,
        "nc" => nc::main,
        "netstat" => net_tables::netstat,
        "nginx" => nginx::main,
        "nslookup" => nslookup::main,
        "pause" => |_| pause::main(),
        "ping" => ping::main,
        "ps" => procs::ps,
        "shop-logic" => shop::logic,
        "shop-page" => shop::page,
        "stress" => small::stress,
        "tar" => archive::tar,
        "top" => procs::top,
        "true" => |_| 0,
        "watch" => small::watch,
        "wget" => wget::main,
        "which" => small::which,
        _ => return uutils::find(name),
    })
}

/// Returns the name of this host: in a pod, the pod's.
fn host_name() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

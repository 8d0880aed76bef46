//! The `ropewalk` program: one file, many roles, decided by how it was called.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let text = |at: usize| args.get(at).map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    // In a container this binary is `nginx`, `pause`, …: before anything that such a small program does not need.
    let name = Path::new(&text(0)).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some(code) = ropewalk::applets::run(&name, args.clone()) {
        return exit(code);
    }
    if text(1) == ropewalk::runtime::zygote::ZYGOTE_ARGUMENT {
        return exit(ropewalk::runtime::zygote::main(&text(2)));
    }
    if text(1) == ropewalk::cluster::boot::SUPERVISE_ARGUMENT {
        return exit(ropewalk::cluster::boot::supervise(&text(2), ropewalk::lab::guests));
    }
    if text(1) == ropewalk::cluster::wipe::WIPE_ARGUMENT {
        return exit(ropewalk::cluster::wipe::inside(Path::new(&text(2))));
    }
    if name == "kubectl" {
        let words = args.into_iter().map(|a| a.to_string_lossy().into_owned()).collect();
        return exit(ropewalk::kubectl::main_with_stdio(words));
    }
    if name == "etcdctl" {
        let words = args.into_iter().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
        return exit(ropewalk::cli::etcdctl(words));
    }
    exit(ropewalk::cli::run(args))
}

fn exit(code: i32) -> ExitCode {
    ExitCode::from(code as u8)
}

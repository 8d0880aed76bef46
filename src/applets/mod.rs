//! # applets

use std::ffi::OsString;

mod nginx;
mod pause;

/// Runs the program of that name and returns its exit code; `None` if it is no applet.
pub fn run(name: &str, args: Vec<OsString>) -> Option<i32> {
    match name {
        "nginx" => Some(nginx::main(args)),
        "pause" => Some(pause::main()),
        _ => None,
    }
}

//! # Programs inside built-in images
//!
//! ## In Kubernetes
//! An image brings its programs along. Those of most teaching examples are a web server and a shell with small tools.
//! ## How this one works
//! The programs are this binary under another name: a container's `/bin/nginx` is a hard link to it, and `main` asks [`run`]
//! before anything else. So a pod costs no image, and a hundred of them share their pages.
//! ## Left out
//! Programs that are not in the table below.
//! ## Read next
//! `runtime::images`, which lists the links of each image.

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

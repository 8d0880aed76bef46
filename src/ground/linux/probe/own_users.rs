//! The trial of pods with users of their own (`hostUsers: false`).

use super::question::{Capability, Question};
use super::trial;
use super::words::Word;
use crate::process::{self, flags, spawn_forked};
use crate::ranges::{self, Ranges};
use crate::user::{self, Ids};
use crate::{Context, Error, Result, beneath, fds, mount, namespace};
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

/// Tries `hostUsers: false`: images lie in memory, volumes in the home.
pub(super) fn own_users(q: Question<'_>, ids: Ids) -> Capability {
    let of = |tried| q.of(Word::UsersOfPods, tried, Word::NoOwnUsers, Word::MendOwnUsers);
    if ids.rootless() {
        return of(Err(q.say(Word::SharedUsers)));
    }
    let mounts = crate::read_text("/proc/self/mountinfo").unwrap_or_default();
    let (place, kind) = file_system(q.home, &mounts);
    let place_shown = place.display().to_string();
    let in_memory = Path::new("/tmp");
    let tried = trial(flags::NEWNS, || {
        drop(Arc::new(Ranges::default()).take()?);
        mount::make_all_private()?;
        let of_home = beneath::Root::open(place)?; // before something lies over it
        mount::mount("tmpfs", in_memory, mount::Flags::empty(), "mode=755")?;
        let named = |kind: &str, place: &str, e: Error| {
            Error::new(q.say_of(Word::NotMapped, &[kind, place, &e.what]), e.cause)
        };
        idmapped(&beneath::Root::open(in_memory)?).map_err(|e| named("tmpfs", "/tmp", e))?;
        idmapped(&of_home).map_err(|e| named(kind, &place_shown, e))?;
        Ok(q.say_of(Word::IdsMapped, &["tmpfs", kind, &place_shown]))
    });
    of(tried)
}

/// Returns the nearest directory of a path that exists, and the kind of its file system: of the
/// mount that lies nearest above it.
fn file_system<'a>(path: &'a Path, mountinfo: &'a str) -> (&'a Path, &'a str) {
    let place = path.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/"));
    let whole = fs::canonicalize(place).unwrap_or_else(|_| place.to_path_buf());
    let mounts = mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        Some((mount::path_of_mountinfo(left.split(' ').nth(4)?), right.split(' ').next()?))
    });
    // Of two mounts at one place the later one is seen.
    let above = mounts.filter(|(point, _)| whole.starts_with(point));
    let kind = above.max_by_key(|(point, _)| point.components().count()).map_or("?", |(_, kind)| kind);
    (place, kind)
}

/// Tries to show a directory as another user namespace counts.
fn idmapped(directory: &beneath::Root) -> Result<()> {
    let tree = mount::copy(directory.as_fd(), mount::Attributes::default())?;
    let (wait, go) = fds::pipe().during(|| "cannot make a pipe".into())?;
    let child = spawn_forked(flags::NEWUSER, None, |forked| {
        forked.close_copy(go.as_fd()); // else it would wait for itself
        let _ = nix::unistd::read(&wait, &mut [0]); // until the parent is through
        0
    })
    .during(|| "cannot make a user namespace".into())?;
    let run = || {
        user::map_child(&child, ranges::COUNT)?;
        let users = namespace::of_process(child.pid, "user").during(|| "cannot open it".into())?;
        mount::map_ids(&tree, users.as_fd())
    };
    let done = run();
    drop(go);
    let _ = process::wait_pidfd(child.pidfd.as_fd(), true);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_of_a_home_is_that_of_the_nearest_mount() {
        let dir = tempfile::tempdir().unwrap();
        let here = fs::canonicalize(dir.path()).unwrap();
        let line = |point: &Path, kind: &str| {
            format!("36 35 98:0 / {} rw shared:1 - {kind} dev rw\n", point.display())
        };
        let mounts = [
            line(Path::new("/"), "overlay"),
            line(&here, "ext4"),
            line(&here, "btrfs"),
            line(&here.join("x"), "tmpfs"),
        ]
        .concat();
        let home = here.join("not/there/yet");
        assert_eq!(file_system(&home, &mounts), (here.as_path(), "btrfs"));
        assert_eq!(file_system(&home, &line(Path::new("/"), "overlay")).1, "overlay");
        assert_eq!(file_system(&home, "nonsense").1, "?");
    }
}

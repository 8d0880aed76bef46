//! The pause process of a sandbox between clone and exec: its namespaces, its settings, an almost
//! empty root, and no rights.

use super::init::ChildContext;
use super::spec::{Answer, Pause, Role};
use linux::beneath::Root;
use linux::confine::{self, Rights};
use linux::mount::Attributes;
use linux::process::{self, flags};
use linux::user::{self, Ids};
use linux::{Context, Error, Result, limits, mount, namespace, signal};
use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Becomes the pause process: namespaces, hostname, settings, an almost empty root, no rights.
pub(crate) fn pause_with_host_users(spec: &Pause, context: &ChildContext) -> Result<Infallible> {
    context.join_cgroups()?;
    if !spec.own_network {
        namespace::join(context.fd(Role::Network)?, flags::NEWNET)
            .during(|| "cannot use the node's network".into())?;
    }
    context.take_streams(true)?;
    context.close_others()?;
    mount::make_all_private()?;
    become_pause(spec, context, &Root::open(&spec.root)?)
}

/// The byte that tells [`pause_in_user_namespace`] that its ids are mapped.
pub(crate) const MAPPED: [u8; 1] = *b"m";

/// Becomes the pause process of a pod with a user namespace of its own. It was cloned into that
/// namespace, which owns its other namespaces, and has no ids in it until [`MAPPED`] comes through
/// `maps`. Its root is its current directory: outside of the namespace it has no rights any more,
/// so it could not look up the path.
pub(crate) fn pause_in_user_namespace(
    spec: &Pause,
    context: &ChildContext,
    maps: &OwnedFd,
) -> Result<Infallible> {
    context
        .forked
        .close_all_but(&[context.fd(Role::Status)?, maps.as_fd()])
        .during(|| "cannot close descriptors".into())?;
    let mut word = [0];
    match nix::unistd::read(maps, &mut word) {
        Ok(1) if word == MAPPED => {}
        _ => process::exit_now(1), // the helper has ended; if it failed, it has sent the reason
    }
    user::become_root()?;
    context.close_others()?;
    mount::make_all_private()?;
    become_pause(spec, context, &Root::open(Path::new("."))?)
}

/// Does the steps in the pod's namespaces, which both pause processes have in common.
fn become_pause(spec: &Pause, context: &ChildContext, root: &Root) -> Result<Infallible> {
    nix::unistd::sethostname(&spec.hostname)
        .during(|| format!("cannot set the hostname {:?}", spec.hostname))?;
    if spec.own_network {
        // Every user may open port 80 and ping, as containerd sets it.
        namespace::set_sysctl("net/ipv4/ip_unprivileged_port_start", "0")?;
        let most = if (context.ids, context.users) == (Ids::Host, None) { 2_147_483_647 } else { 65535 };
        if let Some(groups) = ping_groups(&user::gid_map(), most) {
            let _ = namespace::set_sysctl("net/ipv4/ping_group_range", &groups); // pods run without ping, too
        }
        for (name, value) in &spec.sysctls {
            namespace::set_sysctl(name, value)?;
        }
    }
    // A new root must be a mount point.
    let root = mount::over_itself(root, Attributes { read_only: true, no_devices: false })?;
    mount::enter_opened_root(&root)?;
    drop(root);
    mount::leave_old_root()?;
    let _ = nix::unistd::setsid();
    signal::reset().during(|| "cannot reset signals".into())?;
    limits::limit_resources().during(|| "cannot set resource limits".into())?;
    let rights = Rights {
        uid: 0,
        gid: 0,
        groups: &[],
        capabilities: &[],
        no_new_privs: true,
        seccomp: context.seccomp,
        ids: context.ids,
    };
    confine::confine(&rights)?;
    context.answer(&Answer::Ready, &[])?;
    Err(Error::new("cannot run pause", process::exec::<String>(Path::new("/pause"), &["/pause".into()], &[])))
}

/// Returns the largest range of groups up to `most` that the kernel takes as `ping_group_range`, by
/// the text of /proc/self/gid_map. Both ends must be groups of the user namespace, and must be in
/// order where the kernel counts, outside of it: a range that is not closes ping to all.
///
/// ```text
/// inside outside count
/// 0 0 4294967295, most 2147483647           ->  0 2147483647
/// 0 1000 1, 1 100000 10000, most 65535      ->  0 10000
/// 0 1234567 1, 1 100000 65536, most 65535   ->  1 65535: outside, group 0 is above the others
/// ```
fn ping_groups(gid_map: &str, most: u64) -> Option<String> {
    let part = |line: &str| {
        let mut numbers = line.split_whitespace().map(|text| text.parse::<u64>().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    };
    let parts: Vec<(u64, u64, u64)> = gid_map.lines().filter_map(part).collect();
    let reaching = parts.iter().filter(|(first, _, count)| *first <= most && *count > 0);
    let ends = reaching.map(|(first, outside, count)| {
        let last = most.min(first + count - 1);
        (last, outside + (last - first), *first)
    });
    let (last, last_outside, first_of_part) = ends.max()?;
    let zero = parts.iter().find(|(first, ..)| *first == 0);
    let is_in_order = zero.is_some_and(|(_, outside, _)| *outside <= last_outside);
    Some(format!("{} {last}", if is_in_order { 0 } else { first_of_part }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_may_ping_are_a_range_inside_and_outside() {
        for (map, most, groups) in [
            ("         0          0 4294967295\n", 2_147_483_647, Some("0 2147483647")),
            ("0 1000 1\n1 100000 65536\n", 2_147_483_647, Some("0 65536")), // root of an outer container
            ("0 1000 1\n", 65535, Some("0 0")),
            ("0 196608 65536\n", 65535, Some("0 65535")),
            ("0 1000 1\n1 100000 65536\n", 65535, Some("0 65535")),
            ("0 1000 1\n1 100000 10000\n", 65535, Some("0 10000")), // fewer subordinate ids than usual
            ("0 1234567 1\n1 100000 65536\n", 65535, Some("1 65535")), // a user of a directory service
            ("", 65535, None),
            ("no map\n", 65535, None),
        ] {
            assert_eq!(ping_groups(map, most).as_deref(), groups, "{map}");
        }
    }
}

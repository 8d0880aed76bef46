//! Pods with a user namespace of their own (`hostUsers: false`), in the zygote's helpers.
//!
//! The pause process is born into the namespace, and with it into all others, which therefore
//! belong to it. The helper that bore it stays outside and gives it its ids. For a container a
//! helper does, with Ropewalk's own rights, what the pod's root may not: it opens the volumes,
//! shows them and the image as the pod counts its users, and mounts the layers. Then it enters the
//! pod's namespaces and bears the container's first process, whose mount namespace is a copy of the
//! helper's.

use super::bear::{bear, in_helper};
use super::idmap::Users;
use super::init::{self, Birth};
use super::pause::{MAPPED, pause_among_users};
use super::root;
use super::spec::{Answer, Container, Pause, Role};
use linux::process::{flags, spawn_forked};
use linux::{Context, Result, fds, namespace, oom, user};
use std::os::fd::AsFd;

/// Makes the pause process. `wanted` are its namespaces beside that of its users.
pub(crate) fn pause(spec: &Pause, birth: &Birth, first: u32, wanted: u64) -> Result<()> {
    in_helper(birth, || {
        birth.join_cgroups()?;
        birth.take_streams(true)?;
        namespace::own_mounts()?;
        std::env::set_current_dir(&spec.root).during(|| "cannot enter the root of pause".into())?;
        let (maps, tell) = fds::pipe().during(|| "cannot make a pipe".into())?;
        birth
            .forked
            .close_all_but(&[birth.fd(Role::Status)?, maps.as_fd(), tell.as_fd()])
            .during(|| "cannot close descriptors".into())?;
        let child = spawn_forked(wanted | flags::NEWUSER | flags::PARENT, None, |_| {
            init::finish(birth, || pause_among_users(spec, birth, &maps))
        })
        .during(|| "cannot clone a process with a user namespace".into())?;
        birth.answer(&Answer::Born(child.pid), &[child.pidfd.as_fd()])?;
        user::map_child(&child, first)?;
        // Without this word, or when this process ends, the child ends.
        nix::unistd::write(&tell, &MAPPED).during(|| "the pause process is gone".into()).map(drop)
    })
}

/// Makes a container's first process.
pub(crate) fn container(spec: &Container, birth: &Birth) -> Result<()> {
    in_helper(birth, || {
        birth.join_cgroups()?;
        oom::raise_score(spec.process.oom_score_adj);
        birth.take_streams(spec.process.terminal)?;
        let users = Users { namespace: birth.fd(Role::Users)?, first: birth.users.unwrap_or_default() };
        let volumes = root::prepare(spec, &users)?;
        let (joined, wanted) = match spec.shared_pids {
            true => (flags::NEWPID, flags::NEWNS),
            false => (0, flags::NEWNS | flags::NEWPID),
        };
        namespace::join(birth.fd(Role::Sandbox)?, joined | flags::NEWUSER | init::POD_NAMESPACES)
            .during(|| "cannot join the pod's namespaces".into())?;
        user::become_root()?;
        // The child may be visible to the pod from its first moment.
        let mut keep = vec![birth.fd(Role::Status)?];
        keep.extend(volumes.descriptors());
        birth.forked.close_all_but(&keep).during(|| "cannot close descriptors".into())?;
        drop(keep);
        bear(birth, None, wanted, || init::finish(birth, || init::container(spec, birth, Some(volumes))))
    })
}

//! Pods with a user namespace of their own (`hostUsers: false`), in the zygote's helpers.
//!
//! The pause process is cloned into the namespace, and with it into all others, which therefore
//! belong to it. The helper that made it stays outside and gives it its ids. For a container a
//! helper does, with Ropewalk's own rights, what the pod's root may not: it opens the volumes,
//! shows them and the image as the pod counts its users, and mounts the layers. Then it enters the
//! pod's namespaces and makes the container's first process, whose mount namespace is a copy of the
//! helper's.

use super::idmap::Users;
use super::init::{self, ChildContext};
use super::pause::{MAPPED, pause_in_user_namespace};
use super::root;
use super::spawn::{run_in_helper, spawn_child};
use super::spec::{Answer, Container, Pause, Role};
use linux::process::{flags, spawn_forked};
use linux::{Context, Result, fds, namespace, oom, user};
use std::os::fd::AsFd;

/// Makes the pause process. `wanted` are its namespaces beside that of its users.
pub(crate) fn pause(spec: &Pause, context: &ChildContext, first: u32, wanted: u64) -> Result<()> {
    run_in_helper(context, || {
        context.join_cgroups()?;
        context.take_streams(true)?;
        namespace::own_mounts()?;
        std::env::set_current_dir(&spec.root).during(|| "cannot enter the root of pause".into())?;
        let (maps, tell) = fds::pipe().during(|| "cannot make a pipe".into())?;
        context
            .forked
            .close_all_but(&[context.fd(Role::Status)?, maps.as_fd(), tell.as_fd()])
            .during(|| "cannot close descriptors".into())?;
        let child = spawn_forked(wanted | flags::NEWUSER | flags::PARENT, None, |_| {
            init::finish(context, || pause_in_user_namespace(spec, context, &maps))
        })
        .during(|| "cannot clone a process with a user namespace".into())?;
        context.answer(&Answer::Child(child.pid), &[child.pidfd.as_fd()])?;
        user::map_child(&child, first)?;
        // Without this word, or when this process ends, the child ends.
        nix::unistd::write(&tell, &MAPPED).during(|| "the pause process is gone".into()).map(drop)
    })
}

/// Makes a container's first process.
pub(crate) fn container(spec: &Container, context: &ChildContext) -> Result<()> {
    run_in_helper(context, || {
        context.join_cgroups()?;
        oom::raise_score(spec.process.oom_score_adj);
        context.take_streams(spec.process.terminal)?;
        let users = Users { namespace: context.fd(Role::Users)?, first: context.users.unwrap_or_default() };
        let volumes = root::prepare(spec, &users)?;
        let (joined, wanted) = match spec.shared_pids {
            true => (flags::NEWPID, flags::NEWNS),
            false => (0, flags::NEWNS | flags::NEWPID),
        };
        namespace::join(context.fd(Role::Sandbox)?, joined | flags::NEWUSER | init::POD_NAMESPACES)
            .during(|| "cannot join the pod's namespaces".into())?;
        user::become_root()?;
        // The child may be visible to the pod from its first moment.
        let mut keep = vec![context.fd(Role::Status)?];
        keep.extend(volumes.descriptors());
        context.forked.close_all_but(&keep).during(|| "cannot close descriptors".into())?;
        drop(keep);
        spawn_child(context, None, wanted, || {
            init::finish(context, || init::container(spec, context, Some(volumes)))
        })
    })
}

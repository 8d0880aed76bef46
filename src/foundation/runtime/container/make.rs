//! The first process of a container: its mounts, and what the zygote is asked for.

use super::super::context::NodeContext;
use super::super::spec::{Request, Role, What};
use super::super::zygote::Started;
use super::super::{sandbox, spec};
use super::streams::Streams;
use super::{Container, Launch};
use cri::{Error, Result};
use linux::{cgroup, oom};
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

/// Bytes of one container's writable layer, in memory. A container whose memory limit is lower is
/// bounded by that.
const LAYER_MAX: u64 = 512 << 20;

impl Container {
    /// Returns what is mounted into it, see [`all_mounts`]. Writes `/etc/hosts` anew, unless a
    /// volume is at its place.
    ///
    /// # Errors
    /// `/etc/hosts` cannot be written.
    fn mounts(&self, node: &str, launch: &Launch) -> Result<Vec<spec::Mount>> {
        if !has_volume(&launch.mounts, "/etc/hosts") {
            self.sandbox.renew_hosts(node)?;
        }
        let files = sandbox::shared_files(&self.sandbox.directory);
        Ok(all_mounts(files, &launch.mounts, self.config.security.read_only_root))
    }

    pub(super) async fn make_process(
        &self,
        context: &NodeContext,
        group: &dyn cgroup::Group,
        launch: &Launch,
    ) -> Result<(Started, Streams)> {
        let entry = group.entry().map_err(|e| Error::Start(e.line()))?;
        let mounts = self.mounts(&context.config.node, launch)?;
        let wanted = spec::Container {
            directory: self.directory.clone(),
            image: self.layer.clone(),
            layer_max: LAYER_MAX,
            mounts,
            read_only_root: self.config.security.read_only_root,
            cgroup_v2: entry.directory.is_some() && entry.tasks.is_empty(),
            privileged: self.config.security.privileged,
            read_only_proc: !self.config.security.privileged && !oom::score_holds(),
            shared_pids: self.sandbox.config.share_process_namespace,
            process: launch.process.clone(),
        };
        let (streams, theirs) = Streams::make(self.config.tty, self.config.stdin)
            .map_err(|cause| Error::Io { what: "cannot make pipes".into(), cause })?;
        let pause = self.sandbox.process.pidfd().map_err(|cause| Error::Io {
            what: format!("the pause process of sandbox {} has ended", self.sandbox.id),
            cause,
        })?;
        let namespace = self.sandbox.users();
        let mut given = vec![(Role::Sandbox, pause.as_fd())];
        given.extend(theirs.iter().map(|(role, fd)| (*role, fd.as_fd())));
        given.extend(entry.directory.as_ref().map(|fd| (Role::Cgroup, fd.as_fd())));
        let what = What::Container(Box::new(wanted));
        given.extend(namespace.as_ref().map(|namespace| (Role::Users, namespace.as_fd())));
        let users = self.sandbox.first_user();
        let request =
            Request { roles: vec![], ids: context.config.ids, users, tasks: entry.tasks.clone(), what };
        let started = context.config.zygote.run(&self.sandbox.id, request, &given, &self.pending).await;
        Ok((started.map_err(in_init)?, streams))
    }
}

fn has_volume(volumes: &[cri::Mount], at: &str) -> bool {
    volumes.iter().any(|volume| volume.container_path == Path::new(at))
}

/// Lists the pod's own files, where it has no volume at their place, and its volumes: a volume in
/// another volume comes after it.
///
/// As upstream, the kubelet's /etc/hosts is always writable, what containerd adds is not on a
/// read-only root. All containers of the pod share these files.
fn all_mounts<const FILES: usize>(
    files: [(PathBuf, &'static str); FILES],
    volumes: &[cri::Mount],
    read_only_root: bool,
) -> Vec<spec::Mount> {
    let files = files.into_iter().filter(|(_, to)| !has_volume(volumes, to));
    let files = files.map(|(from, to)| spec::Mount {
        root: None,
        from,
        part: PathBuf::new(),
        read_only: read_only_root && to != "/etc/hosts",
        to: to.into(),
    });
    let volumes = volumes.iter().map(|volume| spec::Mount {
        root: volume.host_root.clone(),
        from: volume.host_path.clone(),
        part: volume.sub_path.clone(),
        to: volume.container_path.clone(),
        read_only: volume.read_only,
    });
    let mut mounts: Vec<spec::Mount> = files.chain(volumes).collect();
    mounts.sort_by_key(|mount| depth(&mount.to));
    mounts
}

/// Words the error of a container's first process as runc does since 1.2: it names the step, which
/// it does for no error of an exec.
fn in_init(error: Error) -> Error {
    match error {
        Error::Start(reason) => Error::Start(format!("error during container init: {reason}")),
        other => other,
    }
}

/// Counts the directories above a mount point, as containerd does: `..` goes up.
///
/// ```text
/// /data -> 1    /data/../logs -> 1    /logs/old -> 2
/// ```
fn depth(path: &Path) -> usize {
    path.components().fold(0, |depth: usize, part| match part {
        Component::Normal(_) => depth + 1,
        Component::ParentDir => depth.saturating_sub(1),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => depth,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_files_are_mounted_where_it_has_no_volume() {
        let volume = |to: &str| cri::Mount { container_path: to.into(), ..Default::default() };
        let mounted = |volumes: &[cri::Mount], read_only_root: bool| {
            let files = [("/p/hosts".into(), "/etc/hosts"), ("/p/hostname".into(), "/etc/hostname")];
            let all = all_mounts(files, volumes, read_only_root);
            let text = |m: spec::Mount| format!("{}{}", m.to.display(), if m.read_only { " ro" } else { "" });
            all.into_iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(mounted(&[], false), ["/etc/hosts", "/etc/hostname"]);
        let all = mounted(&[volume("/etc/hostname"), volume("/etc/hosts/x"), volume("/etc")], true);
        assert_eq!(all, ["/etc", "/etc/hosts", "/etc/hostname", "/etc/hosts/x"]);
        assert_eq!(mounted(&[volume("/etc/hosts/")], true), ["/etc/hostname ro", "/etc/hosts/"]);
    }

    #[test]
    fn the_error_of_a_first_process_has_runcs_words() {
        let line = |error: Error| in_init(error).line();
        assert_eq!(line(Error::Start("no".into())), "error during container init: no");
        assert_eq!(line(Error::State("gone".into())), "gone");
    }

    /// The volume of `/data/../logs` would hide that of `/logs/old` otherwise.
    #[test]
    fn a_volume_is_mounted_before_those_in_it_however_its_path_is_written() {
        let mut paths = ["/logs/old", "/data/../logs", "/", "/../a/./b/"].map(Path::new);
        paths.sort_by_key(|path| depth(path));
        assert_eq!(paths, ["/", "/data/../logs", "/logs/old", "/../a/./b/"].map(Path::new));
    }
}

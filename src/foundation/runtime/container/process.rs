//! The program of a container and its rights, which its image and its pod together say.

use super::super::images::Definition;
use super::super::{passwd, spec};
use cri::{ContainerConfig, Error, Resources, Result, SandboxConfig, Security};
use linux::cgroup::Lack;
use linux::{confine, oom};
use std::collections::{BTreeSet, HashMap};

/// For an image whose user does not exist where Ropewalk runs as an ordinary user.
const NO_IMAGE_USER: &str = "the container runs as user 0, because the user of its image does not exist: Ropewalk's own user has too few subordinate \
                             ids; see `ropewalk doctor`";

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Combines what the image and the pod say about the process: program, environment, user, rights.
///
/// Also returns what the pod asked for and does not get, a sentence each.
pub(super) fn process(
    config: &ContainerConfig,
    image: &Definition,
    hostname: &str,
    controls_devices: bool,
) -> Result<(spec::Process, Vec<String>)> {
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_string()).collect::<Vec<String>>();
    let mut argv = match config.command.is_empty() {
        true => owned(image.entrypoint),
        false => config.command.clone(),
    };
    match (config.args.is_empty(), config.command.is_empty()) {
        (false, _) => argv.extend(config.args.iter().cloned()),
        (true, true) => argv.extend(owned(image.command)),
        (true, false) => {} // a command of the pod's own takes no arguments of the image's
    }
    if argv.is_empty() {
        return Err(Error::Start("no command specified".into()));
    }
    let ours = [("PATH", Some(PATH)), ("TERM", config.tty.then_some("xterm")), ("HOSTNAME", Some(hostname))];
    let ours = ours.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let of_runtime_and_image = ours.chain(image.env.iter().copied());
    let all = of_runtime_and_image.map(|(name, value)| (name.to_string(), value.to_string()));
    let env = environment(all.chain(config.env.iter().cloned()));
    let security = &config.security;
    let mut capabilities = capabilities(security);
    let mut warnings = Vec::new();
    // A device node that can be made and opened is the host's disk.
    if !security.privileged && !controls_devices && capabilities.iter().any(|c| c == "MKNOD") {
        capabilities.retain(|c| c != "MKNOD");
        warnings
            .push("capability MKNOD is not granted: no control group here can refuse devices".to_string());
    }
    let (gid, groups) = groups(security, image);
    let made = spec::Process {
        argv,
        env,
        cwd: config.working_dir.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| "/".into()).into(),
        uid: security.run_as_user,
        gid,
        groups,
        capabilities,
        no_new_privs: security.no_new_privs,
        seccomp: !security.privileged,
        terminal: config.tty,
        oom_score_adj: oom::score_adj(config.resources.oom_score_adj),
    };
    Ok((made, warnings))
}

/// Returns each variable once: its last value, at the place of its first, as containerd replaces
/// what the image says with what the pod says. There may be a hundred thousand.
///
/// ```text
/// PATH=/usr/bin, A=image, PATH=/bin  ->  PATH=/bin, A=image
/// ```
fn environment(all: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut env: Vec<(String, String)> = Vec::new();
    for (name, value) in all {
        match places.get(&name) {
            Some(place) => env[*place].1 = value,
            None => {
                places.insert(name.clone(), env.len());
                env.push((name, value));
            }
        }
    }
    env
}

/// Takes the image's user where the pod names none. If it does not exist here, the container runs
/// as user 0: the pod did not ask for another. Returns a sentence that says so then.
///
/// # Errors
/// `RunsAsRoot`: the pod forbids user 0, and it would be that.
pub(super) fn choose_user(
    security: &mut Security,
    image: &Definition,
    exists: impl Fn(u32) -> bool,
) -> Result<Option<String>> {
    let is_wanted = security.run_as_user.is_none() && image.user != 0;
    let is_missing = is_wanted && !exists(image.user);
    if is_wanted && !is_missing {
        security.run_as_user = Some(image.user);
    }
    match security.non_root && security.run_as_user.unwrap_or(0) == 0 {
        true => Err(Error::RunsAsRoot),
        false => Ok(is_missing.then(|| NO_IMAGE_USER.to_string())),
    }
}

/// Returns the primary group of a container's processes, and their further ones, each once and in
/// ascending order. The policy decides the further ones of user 1000, which the image's /etc/group
/// names as a member of group 33, in a pod with `supplementalGroups: [50]`:
///
/// ```text
/// supplementalGroupsPolicy: Merge    33, 50
/// supplementalGroupsPolicy: Strict   50
/// ```
///
/// The primary group is that of /etc/passwd with either policy, unless the pod names one. As
/// containerd, which reads the image's files once for all processes of a container: what its root
/// writes to its own /etc/passwd and /etc/group gives no group to a later `exec` or probe.
fn groups(security: &Security, image: &Definition) -> (u32, Vec<u32>) {
    let user = passwd::find(file_of(image, "etc/passwd"), security.run_as_user.unwrap_or(0));
    let gid = security.run_as_group.or(user.as_ref().map(|user| user.gid)).unwrap_or(0);
    let of_pod = security.supplemental_groups.iter().copied();
    let of_image = user.filter(|_| !security.strict_groups);
    let of_image = of_image.map(|user| passwd::groups_of(file_of(image, "etc/group"), &user.name));
    let all: BTreeSet<u32> = of_pod.chain(of_image.unwrap_or_default()).collect();
    (gid, all.into_iter().collect())
}

/// Returns the user and the groups of a program, for the status of its container.
///
/// ```text
/// gid 3000, groups 4000 and 7  ->  7, 3000, 4000
/// ```
pub(super) fn user(process: &spec::Process) -> cri::User {
    let all: BTreeSet<u32> = process.groups.iter().copied().chain([process.gid]).collect();
    cri::User { uid: process.uid.unwrap_or(0), gid: process.gid, groups: all.into_iter().collect() }
}

/// Returns a warning for each limit of a container, or of its pod as a whole (`spec.resources`),
/// that no control group here can hold.
pub(super) fn not_enforced(container: &Resources, pod: &SandboxConfig, lack: Option<&Lack>) -> Vec<String> {
    let Some(Lack { missing, why }) = lack else { return Vec::new() };
    let limits = [
        ("memory", container.memory_limit.or(pod.memory_limit)),
        ("cpu", container.cpu_limit_milli.or(pod.cpu_limit_milli)),
    ];
    let is_unheld = |name: &str| missing.controllers().contains(&name);
    let unheld = limits.into_iter().filter(|(name, limit)| limit.is_some() && is_unheld(name));
    unheld
        .map(|(name, _)| format!("the {name} limit is not enforced: {why}; see `ropewalk doctor`"))
        .collect()
}

/// Returns the text of a file of an image; empty if the image has none at this path.
fn file_of<'i>(image: &'i Definition, path: &str) -> &'i str {
    image.files.iter().find(|file| file.0 == path).map_or("", |file| file.1.as_str())
}

/// Returns the default capabilities plus `add` minus `drop`, in order. `ALL` counts before the
/// names do, so `drop: [ALL], add: [X]` leaves X; a name in both lists is dropped. The order of the
/// steps is that of containerd's `WithCapabilities`: add ALL, drop ALL, add names, drop names. The
/// lists are as long as an object may be: the API takes any name.
pub(super) fn capabilities(security: &Security) -> Vec<String> {
    let all = confine::all_capabilities();
    if security.privileged {
        return all;
    }
    // As containerd, which writes `CAP_` before whatever the pod names: `CAP_X` is no capability.
    let plain = |name: &String| name.to_uppercase();
    let add: BTreeSet<String> = security.add_capabilities.iter().map(plain).collect();
    let dropped: BTreeSet<String> = security.drop_capabilities.iter().map(plain).collect();
    let defaults = confine::DEFAULT_CAPABILITIES.iter().map(|name| (*name).to_string());
    let mut keep: BTreeSet<String> = match add.contains("ALL") {
        true => all.into_iter().collect(),
        false => defaults.collect(),
    };
    if dropped.contains("ALL") {
        keep.clear();
    }
    keep.extend(add.into_iter().filter(|c| c != "ALL"));
    keep.into_iter().filter(|c| !dropped.contains(c)).collect()
}

//! Volumes: directories on the node with what the pod asked for in them.
//!
//! Every path that comes from an object, and every path in which a pod may have put a link, is
//! resolved by [`Root`]: what a volume holds is written below its own directory ([`files`]), and a
//! path of the node stays in the node's file system.

mod claims;
mod of_node;
mod tokens;

pub(crate) use claims::{Holders, claimed};

use super::container::{Place, Volumes};
use super::env::Facts;
use super::files::{self, Gathered, Owners};
use super::resources::{pod_limits, resource_field};
use super::specs::spec_of;
use super::status::has_containers;
use api::quantity::Quantity;
use claims::{Claimed, check_mode, check_node};
use client::{Client, is_unanswered, optional};
use k8s_openapi::api::core::v1::{
    ConfigMap, EmptyDirVolumeSource, KeyToPath, Node, Pod, PodSpec, Secret, Volume, VolumeProjection,
};
use linux::beneath::{Kind, Root};
use linux::{self, mount};
use of_node::{host_path, local};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokens::{kept_token, token};

/// An API server that has not answered for so long in real time is not asked again at once.
const SLOW: Duration = Duration::from_secs(1);
/// Files in a volume in memory: at least, at most.
const FILES_IN_MEMORY: (u64, u64) = (1024, 1 << 18);

/// What the volumes of one pod are made from.
pub(crate) struct Context<'a> {
    pub client: &'a Client,
    pub facts: &'a Facts<'a>,
    /// `data/<node>/pods/<uid>/volumes`.
    pub dir: PathBuf,
    /// The node's own file system, as pods with `hostPath` see it.
    pub node_root: &'a Path,
    /// Allocatable memory of the node, in bytes: what a volume in memory may use if nothing else
    /// bounds it.
    pub memory_bytes: u64,
    /// Takes a claim whose volume is for one pod alone. Returns false if another pod of the node
    /// has it ([`Holders::take`]).
    pub take_claim: &'a (dyn Fn(&str) -> bool + Send + Sync),
}

/// The reason for which a volume could not be made.
#[derive(Clone, Debug)]
pub(crate) struct Unmade {
    pub why: String,
    /// The API server did not say what belongs into the volume. If the volume was made before, no
    /// Event is written about that.
    pub unanswered: bool,
    /// The request took [`SLOW`] or longer, so the next one would, too.
    pub slow: bool,
}

impl From<String> for Unmade {
    fn from(why: String) -> Unmade {
        Unmade { why, unanswered: false, slow: false }
    }
}

/// Returns why a volume could not be made whose object could not be read.
fn unread(what: &str, error: kube::Error) -> Unmade {
    Unmade { why: format!("{what}{error}"), unanswered: is_unanswered(&error), slow: false }
}

/// Makes all volumes of the pod that some container uses. One of `known`, which were made before,
/// that cannot be brought up to date stays as it is, whatever the reason, as a mounted volume does
/// upstream. Adds to `known` what is made, and returns the names of volumes that stayed as they
/// were, with the reasons. An API server that is slow to say nothing is asked for one volume alone:
/// behind a link that is cut each request takes seconds, and a container that crashed waits for it.
///
/// # Errors
/// A volume that is not known cannot be made: its name, and why, of the first one. Those after it
/// are made all the same: a kubelet that has just started knows none, and a ConfigMap that is gone
/// must not keep the pod's token from being renewed.
pub(crate) async fn prepare(
    context: &Context<'_>,
    known: &mut Volumes,
) -> Result<Vec<(String, Unmade)>, (String, Unmade)> {
    let (mut stale, mut failed, mut slow) = (Vec::new(), None, None::<Unmade>);
    let mut left = files::ALL_MAX;
    let Some(spec) = &context.facts.pod.spec else { return Ok(stale) };
    let used = used_volumes(spec);
    for volume in spec.volumes.iter().flatten().filter(|volume| used.contains(volume.name.as_str())) {
        let name = volume.name.clone();
        let asked = clock::Instant::now();
        let of_api = shows_objects(volume) || volume.persistent_volume_claim.is_some();
        let mut made = match &slow {
            Some(unmade) if of_api => Err(Unmade::clone(unmade)),
            _ => make_volume(context, volume, &mut left).await,
        };
        if let Err(unmade) = &mut made
            && unmade.unanswered
            && asked.elapsed() >= SLOW
        {
            unmade.slow = true;
            slow = Some(unmade.clone());
        }
        match made {
            Ok(made) => drop(known.insert(name, made)),
            Err(why) if known.contains_key(&name) => stale.push((name, why)),
            Err(why) => _ = failed.get_or_insert((name, why)),
        }
    }
    failed.map_or(Ok(stale), Err)
}

/// Lists the names of the volumes that some container of the pod, of whatever kind, mounts or has
/// as a device. What another volume refers to need not be there. Source: `processPodVolumes`
/// upstream.
fn used_volumes(spec: &PodSpec) -> BTreeSet<&str> {
    let plain = spec.init_containers.iter().flatten().chain(&spec.containers);
    let plain = plain.map(|c| (&c.volume_mounts, &c.volume_devices));
    let debuggers = spec.ephemeral_containers.iter().flatten();
    let all = plain.chain(debuggers.map(|c| (&c.volume_mounts, &c.volume_devices)));
    all.flat_map(|(mounts, devices)| {
        let mounts = mounts.iter().flatten().map(|mount| mount.name.as_str());
        mounts.chain(devices.iter().flatten().map(|device| device.name.as_str()))
    })
    .collect()
}

/// Makes one volume.
///
/// # Errors
/// The volume cannot be made: why, as the Event `FailedMount` says it.
async fn make_volume(context: &Context<'_>, volume: &Volume, left: &mut usize) -> Result<Place, Unmade> {
    if !files::is_name(&volume.name) {
        return Err(format!("invalid volume name {:?}", volume.name).into());
    }
    let dir = context.dir.join(&volume.name);
    let namespace = context.facts.pod.metadata.namespace.as_deref().unwrap_or("default");
    let io = |error: io::Error| format!("cannot prepare {}: {error}", dir.display());
    if let Some(source) = &volume.empty_dir {
        make_dir(&dir, 0o777).map_err(io)?;
        match source.medium.as_deref().unwrap_or_default() {
            "" => {}
            "Memory" => in_memory(context, source, &dir).map_err(|e| e.line())?,
            other => return Err(format!("emptyDir medium {other:?} is not implemented; Memory is").into()),
        }
        return Ok(Place::of_kubelet(dir, false));
    }
    if let Some(source) = &volume.host_path {
        host_path(context.node_root, &source.path, source.type_.as_deref().unwrap_or_default(), 0o755)?;
        return Ok(Place::of_node(context.node_root, &source.path, false));
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        let own_name = &volume.name;
        let Claimed { volume, path, kind, on, mode, is_terminating, is_for_one_pod } =
            claimed(context.client, namespace, &claim.claim_name).await?;
        // As upstream no pod begins to use it; one that runs keeps it. A claim that is
        // protected stays until its pods are gone, new ones too. Source: `getPVCExtractPV`.
        let is_new = context.facts.pod.status.as_ref().is_none_or(|status| !has_containers(status));
        if is_terminating && is_new {
            return Err(format!("persistentvolumeclaim {:?} is being deleted", claim.claim_name).into());
        }
        check_mode(context.facts.pod, own_name, &mode)?;
        if let Some(on) = on {
            let node = context.client.cluster::<Node>().get(context.facts.node_name).await;
            check_node(&volume, &on, &node.map_err(|e| unread("", e))?)?;
        }
        // The scheduler looks at that, too, but a pod with `nodeName` has passed it by.
        if is_for_one_pod && !(context.take_claim)(&claim.claim_name) {
            let mode = "volume uses the ReadWriteOncePod access mode";
            return Err(format!("{mode} and is already in use by another pod").into());
        }
        match kind {
            Some(kind) => host_path(context.node_root, &path, &kind, 0o777)?,
            None => local(context.node_root, &path)?,
        }
        return Ok(Place::of_node(context.node_root, &path, claim.read_only.unwrap_or(false)));
    }
    let mut owners = owners(context.facts.pod);
    let files = gather(context, volume, &dir, left, &mut owners).await?;
    make_dir(&dir, 0o755).map_err(io)?;
    files::write(&dir, &files.files, &owners)?;
    Ok(Place::of_kubelet(dir, true))
}

/// Reads the files of a volume that shows objects: configMap, secret, downwardAPI, projected.
async fn gather<'a>(
    context: &Context<'_>,
    volume: &Volume,
    dir: &Path,
    left: &'a mut usize,
    owners: &mut Owners,
) -> Result<Gathered<'a>, Unmade> {
    let namespace = context.facts.pod.metadata.namespace.as_deref().unwrap_or("default");
    let mut files = Gathered::new(left);
    if let Some(source) = &volume.config_map {
        let mode = source.default_mode.unwrap_or(0o644) as u32;
        let optional = source.optional.unwrap_or(false);
        config_map(context, namespace, &source.name, source.items.as_deref(), optional, mode, &mut files)
            .await?;
    } else if let Some(source) = &volume.secret {
        let mode = source.default_mode.unwrap_or(0o644) as u32;
        let name = source.secret_name.clone().unwrap_or_default();
        let optional = source.optional.unwrap_or(false);
        secret(context, namespace, &name, source.items.as_deref(), optional, mode, &mut files).await?;
    } else if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(0o644) as u32;
        for item in source.items.iter().flatten() {
            downward(context, item, mode, &mut files)?;
        }
    } else if let Some(source) = &volume.projected {
        let mode = source.default_mode.unwrap_or(0o644) as u32;
        for part in source.sources.iter().flatten() {
            project(context, part, mode, dir, &mut files, owners).await?;
        }
    } else {
        let known = "emptyDir, hostPath, configMap, secret, downwardAPI, projected and persistentVolumeClaim";
        return Err(format!("this kind of volume is not implemented; {known} are").into());
    }
    Ok(files)
}

/// Reads the files of one source of a projected volume. A token that is still fresh in `dir` is
/// kept.
async fn project(
    context: &Context<'_>,
    part: &VolumeProjection,
    mode: u32,
    dir: &Path,
    files: &mut Gathered<'_>,
    owners: &mut Owners,
) -> Result<(), Unmade> {
    let namespace = context.facts.pod.metadata.namespace.as_deref().unwrap_or("default");
    if let Some(p) = &part.config_map {
        let optional = p.optional.unwrap_or(false);
        config_map(context, namespace, &p.name, p.items.as_deref(), optional, mode, files).await?;
    }
    if let Some(p) = &part.secret {
        let optional = p.optional.unwrap_or(false);
        secret(context, namespace, &p.name, p.items.as_deref(), optional, mode, files).await?;
    }
    for item in part.downward_api.iter().flat_map(|p| p.items.iter().flatten()) {
        downward(context, item, mode, files)?;
    }
    if let Some(p) = &part.service_account_token {
        let path = &files::clean_path(&p.path)?;
        let bytes = match kept_token(dir, path) {
            Some(token) => token,
            None => token(context, namespace, p.audience.clone(), p.expiration_seconds).await?.into_bytes(),
        };
        files.add(path, &bytes, owners.close(path, mode))?;
    }
    Ok(())
}

/// Returns the owners of the files of a pod's volumes: its `fsGroup`, and the user of its
/// containers if all run as the same one. Ephemeral containers are not asked: a debugger that names
/// no user would open the pod's renewed tokens to every user. Source: `FsUserFrom` in
/// `pkg/volume/util/util.go`.
fn owners(pod: &Pod) -> Owners {
    let Some(spec) = &pod.spec else { return Owners::default() };
    let security = spec.security_context.as_ref();
    let of_pod = security.and_then(|s| s.run_as_user);
    let all = spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut users = all.map(|c| c.security_context.as_ref().and_then(|s| s.run_as_user).or(of_pod));
    let user = users.next().flatten().filter(|first| users.all(|user| user == Some(*first)));
    let id = |id: i64| u32::try_from(id).ok();
    let group = security.and_then(|s| s.fs_group).and_then(id);
    Owners { group, user: user.and_then(id), ..Owners::default() }
}

/// Returns the node's own file system.
///
/// # Errors
/// Its directory cannot be made or opened.
pub(crate) fn node_root(path: &Path) -> linux::Result<Root> {
    fs::create_dir_all(path)
        .map_err(|cause| linux::Error::new(format!("cannot make {}", path.display()), cause))?;
    Root::open(path)
}

/// Returns the type bits of what is at a path of the node's file system, if anything is.
///
/// # Errors
/// The path cannot be looked at.
pub(crate) fn file_type(root: &Root, path: &str) -> linux::Result<Option<u32>> {
    match root.open_in_root(Path::new(path), Kind::Place) {
        Ok(place) => {
            let stat = nix::sys::stat::fstat(&place)
                .map_err(|cause| linux::Error::new(format!("cannot look at {path}"), cause))?;
            Ok(Some(stat.st_mode & nix::libc::S_IFMT))
        }
        Err(e) if e.cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Mounts a tmpfs on the directory, unless one is there already (from before a restart of this
/// kubelet). Its pages count as memory of the container that writes them, and as its pod's also
/// when that container has ended. Like upstream, the size is `sizeLimit`, but never more than the
/// pod's memory limit, or else than the node's memory.
fn in_memory(context: &Context<'_>, source: &EmptyDirVolumeSource, dir: &Path) -> linux::Result<()> {
    if is_mounted(dir)? {
        return Ok(());
    }
    let limit = source.size_limit.as_ref().and_then(|q| Quantity::parse(&q.0));
    let limit = limit.map(|q| u64::try_from(q.units()).unwrap_or(0)).filter(|bytes| *bytes > 0);
    let of_pod = pod_limits(context.facts.pod).memory.unwrap_or(context.memory_bytes);
    let size = limit.unwrap_or(u64::MAX).min(of_pod);
    let flags = mount::Flags::MS_NOSUID | mount::Flags::MS_NODEV;
    mount::tmpfs(dir, flags, 0o777, size, files_of(size))
}

/// Returns how many files a volume in memory may hold: one for every 16 KiB, as `mkfs.ext4` counts,
/// within bounds.
fn files_of(bytes: u64) -> u64 {
    (bytes >> 14).clamp(FILES_IN_MEMORY.0, FILES_IN_MEMORY.1)
}

/// Returns whether something is mounted on this directory: it lies on another device than the one
/// above.
pub(super) fn is_mounted(dir: &Path) -> linux::Result<bool> {
    let device = |path: &Path| {
        fs::symlink_metadata(path)
            .map(|found| found.dev())
            .map_err(|cause| linux::Error::new(format!("cannot look at {}", path.display()), cause))
    };
    Ok(device(dir)? != device(dir.parent().unwrap_or(dir))?)
}

/// Makes a directory with this mode, whatever the umask. One that is there keeps its mode, which a
/// container may have changed. It gets its name last: a process that ends before that leaves no
/// directory with another mode behind. No volume has a name with a dot in front.
fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    if !path.is_dir() {
        let name = Path::new(path.file_name().unwrap_or_default());
        let unfinished = format!(".{}.new", name.display());
        let made = path.with_file_name(&unfinished);
        fs::create_dir_all(&made)?;
        fs::set_permissions(&made, fs::Permissions::from_mode(mode))?;
        let root = Root::open(path.parent().unwrap_or(path)).map_err(|e| e.cause)?;
        root.rename(Path::new(&unfinished), name).map_err(|e| e.cause)?;
    }
    Ok(())
}

fn select(
    all: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    mode: u32,
    files: &mut Gathered<'_>,
    optional: bool,
    missing: &str,
) -> Result<(), String> {
    match items.filter(|i| !i.is_empty()) {
        None => all.iter().try_for_each(|(key, bytes)| files.add(key, bytes, mode))?,
        Some(items) => {
            for item in items {
                match all.get(&item.key) {
                    Some(bytes) => files.add(&item.path, bytes, item.mode.map_or(mode, |m| m as u32))?,
                    None if optional => {}
                    None => return Err(format!("{missing}: {}", item.key)),
                }
            }
        }
    }
    Ok(())
}

async fn config_map(
    context: &Context<'_>,
    namespace: &str,
    name: &str,
    items: Option<&[KeyToPath]>,
    may_miss: bool,
    mode: u32,
    files: &mut Gathered<'_>,
) -> Result<(), Unmade> {
    let found =
        optional(context.client.within::<ConfigMap>(namespace).get(name).await).map_err(|e| unread("", e))?;
    let Some(map) = found else {
        return if may_miss { Ok(()) } else { Err(format!("configmap {name:?} not found").into()) };
    };
    let mut all: BTreeMap<String, Vec<u8>> =
        map.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.into_bytes())).collect();
    all.extend(map.binary_data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.0)));
    Ok(select(all, items, mode, files, may_miss, "configmap references non-existent config key")?)
}

async fn secret(
    context: &Context<'_>,
    namespace: &str,
    name: &str,
    items: Option<&[KeyToPath]>,
    may_miss: bool,
    mode: u32,
    files: &mut Gathered<'_>,
) -> Result<(), Unmade> {
    let found =
        optional(context.client.within::<Secret>(namespace).get(name).await).map_err(|e| unread("", e))?;
    let Some(secret) = found else {
        return if may_miss { Ok(()) } else { Err(format!("secret {name:?} not found").into()) };
    };
    let all = secret.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.0)).collect();
    Ok(select(all, items, mode, files, may_miss, "references non-existent secret key")?)
}

fn downward(
    context: &Context<'_>,
    item: &k8s_openapi::api::core::v1::DownwardAPIVolumeFile,
    mode: u32,
    files: &mut Gathered<'_>,
) -> Result<(), String> {
    let text = if let Some(field) = &item.field_ref {
        context.facts.field(&field.field_path)?
    } else if let Some(field) = &item.resource_field_ref {
        let name = field.container_name.clone().unwrap_or_default();
        let spec = spec_of(context.facts.pod, &name);
        let spec = spec.ok_or_else(|| format!("container {name:?} not found"))?;
        let divisor = field.divisor.as_ref().map(|d| d.0.as_str());
        resource_field(spec, &field.resource, divisor, &context.facts.allocatable)?
    } else {
        String::new()
    };
    files.add(&item.path, text.as_bytes(), item.mode.map_or(mode, |m| m as u32))
}

/// Returns whether the volume shows objects of the API.
fn shows_objects(volume: &Volume) -> bool {
    volume.config_map.is_some() || volume.secret.is_some() || volume.projected.is_some()
}

/// Returns whether the pod has volumes whose files may change while it runs.
pub(crate) fn is_live(pod: &Pod) -> bool {
    let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
    volumes.iter().any(|v| shows_objects(v) || v.downward_api.is_some())
}

#[cfg(test)]
mod tests;

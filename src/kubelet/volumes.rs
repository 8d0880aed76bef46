//! Volumes: directories on the node with what the pod asked for in them.
//!
//! Config maps, secrets, the downward API and projected volumes are written the way Kubernetes does: into a fresh directory that
//! the link `..data` then points to, so that a reader sees the old files or the new ones, never a mixture.

use super::container::Volumes;
use super::env::Facts;
use crate::client::{Client, optional};
use crate::clock;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, KeyToPath, PersistentVolume, PersistentVolumeClaim, Pod, Secret, ServiceAccount, Volume,
};
use kube::api::PostParams;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Files of a volume: path inside it → (bytes, mode).
type Files = BTreeMap<String, (Vec<u8>, u32)>;

/// A token is renewed when it is older than this part of its life.
const RENEW_AT: f64 = 0.8;

pub struct Context<'a> {
    pub client: &'a Client,
    pub facts: &'a Facts<'a>,
    /// `data/<node>/pods/<uid>/volumes`.
    pub dir: PathBuf,
    /// The node's own file system, as pods with `hostPath` see it.
    pub node_root: &'a Path,
}

/// Makes all volumes of the pod, or says which could not be made and why.
pub async fn prepare(context: &Context<'_>) -> Result<Volumes, (String, String)> {
    let mut volumes = Volumes::new();
    let spec = context.facts.pod.spec.as_ref();
    for volume in spec.and_then(|s| s.volumes.as_deref()).unwrap_or_default() {
        let made = one(context, volume).await.map_err(|why| (volume.name.clone(), why))?;
        volumes.insert(volume.name.clone(), made);
    }
    Ok(volumes)
}

async fn one(context: &Context<'_>, volume: &Volume) -> Result<(PathBuf, bool), String> {
    let dir = context.dir.join(&volume.name);
    let namespace = context.facts.pod.metadata.namespace.as_deref().unwrap_or("default");
    let io = |error: io::Error| format!("cannot prepare {}: {error}", dir.display());
    if volume.empty_dir.is_some() {
        make_dir(&dir, 0o777).map_err(io)?;
        return Ok((dir, false));
    }
    if let Some(source) = &volume.host_path {
        let path = inside(context.node_root, &source.path)?;
        match source.type_.as_deref().unwrap_or_default() {
            "DirectoryOrCreate" | "" => make_dir(&path, 0o755).map_err(io)?,
            "FileOrCreate" if !path.exists() => {
                path.parent()
                    .map_or(Ok(()), fs::create_dir_all)
                    .and_then(|()| fs::write(&path, ""))
                    .map_err(io)?;
            }
            "Directory" if !path.is_dir() => {
                return Err(format!("hostPath type check failed: {} is not a directory", source.path));
            }
            "File" if !path.is_file() => {
                return Err(format!("hostPath type check failed: {} is not a file", source.path));
            }
            _ => {}
        }
        return Ok((path, false));
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        let path = claimed(context, namespace, &claim.claim_name).await?;
        make_dir(&path, 0o777).map_err(io)?;
        return Ok((path, claim.read_only.unwrap_or(false)));
    }
    let mut files = Files::new();
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
            if let Some(p) = &part.config_map {
                let optional = p.optional.unwrap_or(false);
                config_map(context, namespace, &p.name, p.items.as_deref(), optional, mode, &mut files)
                    .await?;
            }
            if let Some(p) = &part.secret {
                let optional = p.optional.unwrap_or(false);
                secret(context, namespace, &p.name, p.items.as_deref(), optional, mode, &mut files).await?;
            }
            for item in part.downward_api.iter().flat_map(|p| p.items.iter().flatten()) {
                downward(context, item, mode, &mut files)?;
            }
            if let Some(p) = &part.service_account_token {
                let bytes = match kept_token(&dir.join("..data").join(&p.path), p.expiration_seconds) {
                    Some(token) => token,
                    None => token(context, namespace, p.audience.clone(), p.expiration_seconds)
                        .await?
                        .into_bytes(),
                };
                files.insert(p.path.clone(), (bytes, mode));
            }
        }
    } else {
        return Err(
            "this kind of volume is not implemented; emptyDir, hostPath, configMap, secret, downwardAPI, \
                    projected and persistentVolumeClaim are"
                .into(),
        );
    }
    write(&dir, &files).map_err(io)?;
    Ok((dir, true))
}

/// A path of the node's file system, which never leads out of it.
fn inside(root: &Path, path: &str) -> Result<PathBuf, String> {
    if path.split('/').any(|part| part == "..") {
        return Err(format!("hostPath {path:?} must not contain '..'"));
    }
    Ok(root.join(path.trim_start_matches('/')))
}

fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    if !path.is_dir() {
        fs::create_dir_all(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn select(
    all: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    mode: u32,
    files: &mut Files,
    optional: bool,
) -> Result<(), String> {
    match items.filter(|i| !i.is_empty()) {
        None => files.extend(all.into_iter().map(|(key, bytes)| (key, (bytes, mode)))),
        Some(items) => {
            for item in items {
                match all.get(&item.key) {
                    Some(bytes) => {
                        let mode = item.mode.map_or(mode, |m| m as u32);
                        files.insert(item.path.clone(), (bytes.clone(), mode));
                    }
                    None if optional => {}
                    None => return Err(format!("references non-existent config key: {}", item.key)),
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
    files: &mut Files,
) -> Result<(), String> {
    let found =
        optional(context.client.within::<ConfigMap>(namespace).get(name).await).map_err(|e| e.to_string())?;
    let Some(map) = found else {
        return if may_miss { Ok(()) } else { Err(format!("configmap {name:?} not found")) };
    };
    let mut all: BTreeMap<String, Vec<u8>> =
        map.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.into_bytes())).collect();
    all.extend(map.binary_data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.0)));
    select(all, items, mode, files, may_miss)
}

async fn secret(
    context: &Context<'_>,
    namespace: &str,
    name: &str,
    items: Option<&[KeyToPath]>,
    may_miss: bool,
    mode: u32,
    files: &mut Files,
) -> Result<(), String> {
    let found =
        optional(context.client.within::<Secret>(namespace).get(name).await).map_err(|e| e.to_string())?;
    let Some(secret) = found else {
        return if may_miss { Ok(()) } else { Err(format!("secret {name:?} not found")) };
    };
    let all = secret.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.0)).collect();
    select(all, items, mode, files, may_miss)
}

fn downward(
    context: &Context<'_>,
    item: &k8s_openapi::api::core::v1::DownwardAPIVolumeFile,
    mode: u32,
    files: &mut Files,
) -> Result<(), String> {
    let text = if let Some(field) = &item.field_ref {
        context.facts.field(&field.field_path)?
    } else if let Some(field) = &item.resource_field_ref {
        let name = field.container_name.clone().unwrap_or_default();
        let spec = context.facts.pod.spec.iter().flat_map(|s| &s.containers).find(|c| c.name == name);
        let spec = spec.ok_or_else(|| format!("container {name:?} not found"))?;
        super::container::resource_field(spec, &field.resource, field.divisor.as_ref().map(|d| d.0.as_str()))?
    } else {
        String::new()
    };
    files.insert(item.path.clone(), (text.into_bytes(), item.mode.map_or(mode, |m| m as u32)));
    Ok(())
}

/// The token in use, while it is young enough.
fn kept_token(path: &Path, life: Option<i64>) -> Option<Vec<u8>> {
    let written = fs::metadata(path).ok()?.modified().ok()?;
    let age = SystemTime::now().duration_since(written).ok()?;
    let life = Duration::from_secs(life.unwrap_or(3600).max(600) as u64);
    (age < life.mul_f64(RENEW_AT)).then(|| fs::read(path).ok()).flatten()
}

async fn token(
    context: &Context<'_>,
    namespace: &str,
    audience: Option<String>,
    life: Option<i64>,
) -> Result<String, String> {
    let pod = context.facts.pod;
    let account =
        pod.spec.as_ref().and_then(|s| s.service_account_name.clone()).unwrap_or_else(|| "default".into());
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: audience.into_iter().collect(),
            expiration_seconds: life,
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
        },
        ..TokenRequest::default()
    };
    let accounts = context.client.within::<ServiceAccount>(namespace);
    let answer: TokenRequest = accounts
        .create_subresource("token", &account, &PostParams::default(), &request)
        .await
        .map_err(|e| format!("failed to fetch token: {e}"))?;
    answer.status.map(|s| s.token).ok_or_else(|| "failed to fetch token: the answer has none".into())
}

/// The directory behind a bound claim.
async fn claimed(context: &Context<'_>, namespace: &str, name: &str) -> Result<PathBuf, String> {
    let claims = context.client.within::<PersistentVolumeClaim>(namespace);
    let claim = optional(claims.get(name).await).map_err(|e| e.to_string())?;
    let claim = claim.ok_or_else(|| format!("persistentvolumeclaim {name:?} not found"))?;
    let bound = claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
    let volume = claim.spec.and_then(|s| s.volume_name).filter(|_| bound);
    let volume = volume.ok_or_else(|| format!("persistentvolumeclaim {name:?} is not bound yet"))?;
    let found =
        optional(context.client.all::<PersistentVolume>().get(&volume).await).map_err(|e| e.to_string())?;
    let spec = found.and_then(|v| v.spec).ok_or_else(|| format!("persistentvolume {volume:?} not found"))?;
    let path = spec.host_path.map(|p| p.path).or(spec.local.map(|l| l.path));
    let path =
        path.ok_or_else(|| format!("persistentvolume {volume:?} is of a kind that is not implemented"))?;
    inside(context.node_root, &path)
}

/// Writes the files so that the change is seen as a whole. Nothing is written if nothing changed.
fn write(dir: &Path, files: &Files) -> io::Result<()> {
    make_dir(dir, 0o755)?;
    let data = dir.join("..data");
    let same =
        files.iter().all(|(path, (bytes, _))| fs::read(data.join(path)).is_ok_and(|old| old == *bytes));
    let count = |p: &Path| walk(p).map(|f| f.len()).unwrap_or(usize::MAX);
    if same && data.exists() && count(&fs::canonicalize(&data)?) == files.len() {
        return Ok(());
    }
    let stamp = clock::now().as_nanosecond();
    let fresh = dir.join(format!("..{stamp}"));
    for (path, (bytes, mode)) in files {
        let file = fresh.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&file, bytes)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(*mode))?;
    }
    make_dir(&fresh, 0o755)?;
    let old = fs::read_link(&data).ok();
    let next = dir.join("..data_tmp");
    let _ = fs::remove_file(&next);
    std::os::unix::fs::symlink(format!("..{stamp}"), &next)?;
    fs::rename(&next, &data)?;
    let tops: std::collections::BTreeSet<&str> = files.keys().filter_map(|p| p.split('/').next()).collect();
    for top in &tops {
        let link = dir.join(top);
        if link.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(format!("..data/{top}"), link)?;
        }
    }
    for entry in fs::read_dir(dir)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !tops.contains(name.as_str()) {
            fs::remove_file(entry.path())?;
        }
    }
    if let Some(old) = old {
        let _ = fs::remove_dir_all(dir.join(old));
    }
    Ok(())
}

fn walk(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => files.extend(walk(&entry.path())?),
            false => files.push(entry.path()),
        }
    }
    Ok(files)
}

/// Does the pod have anything that may change while it runs?
pub fn is_live(pod: &Pod) -> bool {
    let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
    volumes.iter().any(|v| {
        v.config_map.is_some() || v.secret.is_some() || v.projected.is_some() || v.downward_api.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_as_a_whole_and_old_files_go() {
        let dir = tempfile::tempdir().unwrap();
        let files = |list: &[(&str, &str)]| -> Files {
            list.iter().map(|(k, v)| (k.to_string(), (v.as_bytes().to_vec(), 0o644))).collect()
        };
        write(dir.path(), &files(&[("a", "1"), ("sub/b", "2")])).unwrap();
        let first = fs::read_link(dir.path().join("..data")).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("sub/b")).unwrap(), "2");
        write(dir.path(), &files(&[("a", "1"), ("sub/b", "2")])).unwrap();
        assert_eq!(
            fs::read_link(dir.path().join("..data")).unwrap(),
            first,
            "nothing changed, nothing written"
        );
        write(dir.path(), &files(&[("a", "9")])).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "9");
        assert!(dir.path().join("sub").symlink_metadata().is_err());
        assert!(!dir.path().join(first).exists());
    }

    #[test]
    fn host_paths_stay_on_the_node() {
        assert_eq!(inside(Path::new("/n"), "/var/x").unwrap(), PathBuf::from("/n/var/x"));
        assert!(inside(Path::new("/n"), "/var/../../etc").is_err());
    }
}

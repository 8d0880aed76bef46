//! cp: files to and from containers, through tar on both ends.

use super::exec::{container_of, plain};
use crate::api::value;
use crate::kubectl::builder::Info;
use crate::kubectl::ctx::Ctx;
use crate::kubectl::error::{Fail, text};
use crate::kubectl::gostr::quote;
use crate::kubectl::kept::Kept;
use crate::kubectl::output::Output;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `pod:/path`, `namespace/pod:/path`, or a local path.
struct Place {
    namespace: String,
    pod: String,
    path: String,
}

fn place(ctx: &Ctx, word: &str) -> Result<Place, Fail> {
    let Some((remote, path)) = word.split_once(':') else {
        return Ok(Place { namespace: String::new(), pod: String::new(), path: word.into() });
    };
    let (namespace, pod) = match remote.split('/').collect::<Vec<_>>().as_slice() {
        [pod] => (ctx.namespace()?.0, pod.to_string()),
        [namespace, pod] => (namespace.to_string(), pod.to_string()),
        _ => return text("filespec must match the canonical format: [[namespace/]pod:]file/path"),
    };
    if path.is_empty() && !pod.is_empty() {
        return text("filepath can not be empty");
    }
    if pod.is_empty() {
        return text("filespec must match the canonical format: [[namespace/]pod:]file/path");
    }
    Ok(Place { namespace, pod, path: path.into() })
}

pub async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let [from, to] = ctx.args.as_slice() else { return text("source and destination are required") };
    let (from, to) = (place(ctx, from)?, place(ctx, to)?);
    match (from.pod.is_empty(), to.pod.is_empty()) {
        (false, false) => text("one of src or dest must be a local file specification"),
        (true, true) => text("one of src or dest must be a remote file specification"),
        (true, false) => upload(ctx, &from.path, &to).await,
        (false, true) => download(ctx, &from, &to.path).await,
    }
}

async fn pod(ctx: &Ctx, place: &Place) -> Result<(Info, String), Fail> {
    let resource = ctx.resource("pods").await?;
    let mut info = Info {
        resource,
        namespace: place.namespace.clone(),
        name: place.pod.clone(),
        object: Value::Null,
        source: String::new(),
    };
    info.fetch(ctx).await?;
    if matches!(value::text(&info.object, "status.phase"), "Succeeded" | "Failed") {
        let phase = value::text(&info.object, "status.phase");
        return text(format!("cannot exec into a container in a completed pod; current phase is {phase}"));
    }
    let container = container_of(ctx, &info.object, false)?;
    Ok((info, container))
}

/// The last part of a path.
fn last(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

async fn upload(ctx: &Ctx, local: &str, to: &Place) -> Result<(), Fail> {
    let source = ctx.path(local);
    if !source.exists() {
        return text(format!("{local} doesn't exist in local filesystem"));
    }
    let (info, container) = pod(ctx, to).await?;
    let mut target = to.path.clone();
    let quiet = Arc::new(Output::new(Box::new(tokio::io::sink()), Box::new(tokio::io::sink())));
    let is_dir = plain(ctx, &info, &container, &["test", "-d", &target], None, &quiet).await.is_ok();
    if is_dir {
        target = format!("{}/{}", target.trim_end_matches('/'), last(&source.display().to_string()));
    }
    let name = last(&target).to_string();
    let archive = packed(&source, Path::new(&name))?;
    let parent = match target.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) => "/".to_string(),
        Some((parent, _)) => parent.to_string(),
        None => ".".to_string(),
    };
    let mut command = if ctx.flags.is("no-preserve") {
        vec!["tar", "--no-same-permissions", "--no-same-owner", "-xmf", "-"]
    } else {
        vec!["tar", "-xmf", "-"]
    };
    command.extend(["-C", &parent]);
    let stdin: Box<dyn tokio::io::AsyncRead + Send + Unpin> = Box::new(std::io::Cursor::new(archive));
    plain(ctx, &info, &container, &command, Some(stdin), &ctx.output).await
}

/// A tar of a file or folder, under another name.
fn packed(source: &Path, name: &Path) -> Result<Vec<u8>, Fail> {
    let mut builder = tar::Builder::new(vec![]);
    builder.follow_symlinks(false);
    if source.is_dir() {
        builder.append_dir_all(name, source)?;
    } else {
        builder.append_path_with_name(source, name)?;
    }
    Ok(builder.into_inner()?)
}

async fn download(ctx: &Ctx, from: &Place, local: &str) -> Result<(), Fail> {
    let (info, container) = pod(ctx, from).await?;
    let (archive, errors) = (Kept::all(), Kept::all());
    let output = Arc::new(Output::new(Box::new(archive.clone()), Box::new(errors.clone())));
    let outcome = plain(ctx, &info, &container, &["tar", "cf", "-", &from.path], None, &output).await;
    ctx.output.err_bytes(&errors.take());
    outcome?;
    let bytes = archive.take();
    let mut target = ctx.path(local);
    if target.is_dir() {
        target = target.join(last(&from.path));
    }
    let prefix = from.path.trim_start_matches('/').trim_end_matches('/').to_string();
    unpack(ctx, &bytes, &prefix, &target)
}

/// Writes what the archive holds below `prefix` to `target`; nothing outside it, and no links.
fn unpack(ctx: &Ctx, bytes: &[u8], prefix: &str, target: &Path) -> Result<(), Fail> {
    let mut archive = tar::Archive::new(bytes);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let Some(rest) = name.trim_start_matches("./").strip_prefix(prefix.trim_start_matches("./")) else {
            return text(format!("tar contents corrupted: {}", quote(&name)));
        };
        let rest: PathBuf = rest.trim_matches('/').into();
        if rest.components().any(|c| !matches!(c, std::path::Component::Normal(_))) {
            ctx.note(format!("warning: file {} is outside target destination, skipping", quote(&name)));
            continue;
        }
        let path = if rest.as_os_str().is_empty() { target.to_path_buf() } else { target.join(rest) };
        match entry.header().entry_type() {
            tar::EntryType::Directory => std::fs::create_dir_all(&path)?,
            tar::EntryType::Symlink | tar::EntryType::Link => {
                ctx.note(format!(
                    "warning: skipping symlink: {} -> {}",
                    quote(&name),
                    quote(&entry.link_name()?.unwrap_or_default().display().to_string())
                ));
            }
            _ => {
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                std::io::copy(&mut entry, &mut std::fs::File::create(&path)?)?;
            }
        }
    }
    Ok(())
}

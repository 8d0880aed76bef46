//! cp: files to and from containers, through tar on both ends.

use super::exec::plain;
use super::pods::container_and_note;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::go_path;
use crate::info::Info;
use crate::kept::Kept;
use crate::output::Output;
use ::linux::beneath::{Kind, Root};
use api::gostr::quote;
use api::value;
use nix::fcntl::OFlag;
use serde_json::Value;
use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::pipe;

/// Bytes of the container's errors that are shown.
const ERRORS_MAX: usize = 1 << 20;
/// How long the container may take to say whether the destination is a folder, as in kubectl.
const LOOK_WITHIN: Duration = Duration::from_secs(30);
/// The pause before a copy that broke off is resumed.
const AGAIN: Duration = Duration::from_millis(500);

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
        [pod] | ["", pod] => (ctx.namespace()?.0, pod.to_string()),
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

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let [from, to] = ctx.args.as_slice() else { return text("source and destination are required") };
    let (from, to) = (place(ctx, from)?, place(ctx, to)?);
    match (from.pod.is_empty(), to.pod.is_empty()) {
        (false, false) => text("one of src or dest must be a local file specification"),
        // An empty path, which an unset variable leaves, must not become the working directory.
        _ if from.path.is_empty() || to.path.is_empty() => text("filepath can not be empty"),
        (true, true) => text("one of src or dest must be a remote file specification"),
        (true, false) => upload(ctx, &from.path, &to).await,
        (false, true) => download(ctx, &from, &to.path).await,
    }
}

/// The pod of a place, its container, and the note for the user if that was chosen among several.
async fn pod(ctx: &Ctx, place: &Place) -> Result<(Info, String, Option<String>), Fail> {
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
    let (container, chosen) = container_and_note(ctx, &info.object)?;
    Ok((info, container, chosen))
}

/// The last part of a path.
fn last(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

/// The directory of the container in which something is unpacked, and its name there. A path that
/// ends without a name, such as the root or `../..`, is `.` in itself.
///
/// Example: `/tmp/x/../a` is `a` in `/tmp`, and `/` is `.` in `/`.
fn parent_and_name(target: &str) -> (String, String) {
    let clean = go_path::clean(target);
    let (parent, name) = match clean.rsplit_once('/') {
        Some((_, "" | "..")) => (clean.as_str(), "."),
        Some(("", name)) => ("/", name),
        Some(parts) => parts,
        None if matches!(clean.as_str(), "." | "..") => (clean.as_str(), "."),
        None => (".", clean.as_str()),
    };
    (parent.into(), name.into())
}

/// Returns whether `test -d` succeeds in the container.
///
/// # Errors
/// [`Fail::Text`]: it has not ended within [`LOOK_WITHIN`]. The other errors of `test` mean no.
async fn is_folder(test: impl Future<Output = Result<(), Fail>>) -> Result<bool, Fail> {
    match tokio::time::timeout(LOOK_WITHIN, test).await {
        Ok(outcome) => Ok(outcome.is_ok()),
        Err(_) => text("context deadline exceeded"),
    }
}

async fn upload(ctx: &Ctx, local: &str, to: &Place) -> Result<(), Fail> {
    let source = ctx.path(local);
    if !source.exists() {
        return text(format!("{local} doesn't exist in local filesystem"));
    }
    let (info, container, chosen) = pod(ctx, to).await?;
    chosen.iter().for_each(|chosen| ctx.note(chosen));
    let mut target = to.path.clone();
    let quiet = Arc::new(Output::new(Box::new(tokio::io::sink()), Box::new(tokio::io::sink())));
    if is_folder(plain(ctx, &info, &container, &["test", "-d", &target], None, &quiet)).await? {
        target = format!("{}/{}", target.trim_end_matches('/'), last(&source.display().to_string()));
    }
    let (parent, name) = parent_and_name(&target);
    let mut command = if ctx.flags.is("no-preserve") {
        vec!["tar", "--no-same-permissions", "--no-same-owner", "-xmf", "-"]
    } else {
        vec!["tar", "-xmf", "-"]
    };
    command.extend(["-C", &parent]);
    // A thread packs into a pipe. When this command ends, however it does, the pipe breaks and the
    // thread with it.
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(std::io::Error::from)?;
    let packing = tokio::task::spawn_blocking(move || packed(&source, Path::new(&name), writer.into()));
    let stdin: Box<dyn AsyncRead + Send + Unpin> = Box::new(pipe::Receiver::from_owned_fd(reader)?);
    let copied = plain(ctx, &info, &container, &command, Some(stdin), &ctx.output).await;
    // A failure to pack comes first: the complaint of the container's tar is its consequence.
    match (packing.await, copied) {
        (Ok(Err(fail)), copied) if !is_broken_pipe(&fail) => {
            if let Err(copied) = copied {
                ctx.note(format!("error: {}", copied.message()));
            }
            Err(fail)
        }
        (_, copied) => copied,
    }
}

/// Returns whether packing only failed because the container's tar ended.
fn is_broken_pipe(fail: &Fail) -> bool {
    fail.message().to_lowercase().contains("broken pipe")
}

/// Writes a tar of a file or folder, under another name. Links are packed as links, also one that
/// the user names: what they point to stays here.
///
/// # Errors
/// A file cannot be read, or one changed while it was. Then the archive is whole all the same.
fn packed(source: &Path, name: &Path, into: File) -> Result<(), Fail> {
    let mut builder = tar::Builder::new(into);
    builder.follow_symlinks(false);
    let mut changed = vec![];
    pack(&mut builder, source, name, &mut changed)?;
    builder.finish()?;
    match changed.first() {
        None => Ok(()),
        Some(path) => text(format!(
            "{} changed while it was copied: its copy has the length that it had before",
            path.display()
        )),
    }
}

/// Packs what a folder holds. The folder has an entry of its own only if it is empty, as in kubectl
/// (`recursiveTar`): for an entry the container's tar changes the owner and the mode of a directory
/// that is there already.
///
/// Example: `kubectl cp ./site/. web:/tmp` leaves `/tmp` open to all users of the container.
fn pack_folder(
    builder: &mut tar::Builder<File>,
    source: &Path,
    name: &Path,
    changed: &mut Vec<PathBuf>,
) -> Result<(), Fail> {
    let mut entries = std::fs::read_dir(source)?.peekable();
    if entries.peek().is_none() {
        builder.append_dir(name, source)?;
    }
    for entry in entries {
        let entry = entry?;
        pack(builder, &entry.path(), &name.join(entry.file_name()), changed)?;
    }
    Ok(())
}

fn pack(
    builder: &mut tar::Builder<File>,
    source: &Path,
    name: &Path,
    changed: &mut Vec<PathBuf>,
) -> Result<(), Fail> {
    let there = std::fs::symlink_metadata(source)?;
    if there.is_dir() {
        return pack_folder(builder, source, name, changed);
    }
    if !there.is_file() {
        return Ok(builder.append_path_with_name(source, name)?);
    }
    let file = File::open(source)?;
    let mut header = tar::Header::new_gnu();
    header.set_metadata(&file.metadata()?);
    if !pack_file(builder, &mut header, name, file)? {
        changed.push(source.into());
    }
    Ok(())
}

/// Packs as many bytes of a file as its header says, whatever the file has by now: one byte more or
/// less, and no entry behind it can be read. Returns false if it has more or fewer.
///
/// Example: a log that grows while `/var/log` is copied.
fn pack_file(
    builder: &mut tar::Builder<impl std::io::Write>,
    header: &mut tar::Header,
    name: &Path,
    mut file: impl Read,
) -> std::io::Result<bool> {
    let size = header.size()?;
    let mut first = file.by_ref().take(size);
    builder.append_data(header, name, first.by_ref().chain(std::io::repeat(0)).take(size))?;
    let missing = first.limit() > 0;
    Ok(!missing && file.read(&mut [0])? == 0)
}

/// The writing end of a pipe, which counts its bytes: a resumed copy skips as many.
struct Counted {
    into: pipe::Sender,
    count: Arc<AtomicU64>,
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.into).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            self.count.fetch_add(*count as u64, Ordering::Relaxed);
        }
        written
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.into).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.into).poll_shutdown(cx)
    }
}

async fn download(ctx: &Ctx, from: &Place, local: &str) -> Result<(), Fail> {
    let (info, container, chosen) = pod(ctx, from).await?;
    chosen.iter().for_each(|chosen| ctx.line(chosen)); // as what the container's tar says
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(std::io::Error::from)?;
    // Without a slash at its end: a file may be meant.
    let target: PathBuf = ctx.path(local).components().collect();
    let (prefix, output) = (relative(&from.path), ctx.output.clone());
    let mut unpacking = tokio::task::spawn_blocking(move || {
        let mut note = |text: String| output.err(&(text + "\n"));
        let mut archive = File::from(reader);
        unpack(&archive, &prefix, &target, &mut note)?;
        // Reads the padding behind the end of the archive: the container's tar waits until it is
        // read.
        std::io::copy(&mut archive, &mut std::io::sink())?;
        Ok(())
    });
    let lost = |_| Fail::Text("the thread that unpacks was lost".into());
    tokio::select! {
        // The thread ended before the archive did: no more of it is read.
        unpacked = &mut unpacking => unpacked.map_err(lost)?,
        fetched = fetch(ctx, &info, &container, &from.path, writer) => {
            // The pipe is closed, so the thread ends.
            let unpacked = unpacking.await.map_err(lost)?;
            fetched.and(unpacked)
        }
    }
}

/// Copies the container's archive into a pipe; a copy that breaks off is resumed as often as
/// `--retries` says.
async fn fetch(ctx: &Ctx, info: &Info, container: &str, path: &str, writer: OwnedFd) -> Result<(), Fail> {
    let retries = ctx.flags.int("retries");
    let count = Arc::new(AtomicU64::new(0));
    let mut tried = 0;
    loop {
        let errors = Kept::up_to(ERRORS_MAX);
        let into = pipe::Sender::from_owned_fd(writer.try_clone()?)?;
        let sink = Counted { into, count: count.clone() };
        let output = Arc::new(Output::new(Box::new(sink), Box::new(errors.clone())));
        let from = count.load(Ordering::Relaxed);
        let resumed = format!("tar cf - {} | tail -c+{}", shell_word(path), from + 1);
        let command = match retries {
            0 => vec!["tar", "cf", "-", path],
            _ => vec!["sh", "-c", resumed.as_str()],
        };
        let outcome = plain(ctx, info, container, &command, None, &output).await;
        // As in kubectl, whose `TarPipe` prints the errors of the container's tar there.
        ctx.output.bytes(&errors.take());
        match outcome {
            // An exit code is an answer of the program, which would fail again; other failures are
            // retried.
            Err(fail) if !matches!(fail, Fail::Coded(..)) && (retries < 0 || tried < retries) => {
                tried += 1;
                let most = if retries < 0 { String::new() } else { format!("/{retries}") };
                ctx.note(format!(
                    "Resuming copy at {} bytes, retry {tried}{most} - {}",
                    count.load(Ordering::Relaxed),
                    fail.message()
                ));
                ctx.output.flush().await;
                clock::pause(AGAIN).await;
            }
            outcome => return outcome,
        }
    }
}

/// A path as one word of a shell.
fn shell_word(path: &str) -> String {
    format!("'{}'", path.replace('\'', "'\\''"))
}

/// A container's path as the names in its archive are: without what leads to the root, and without
/// detours.
fn relative(path: &str) -> PathBuf {
    let clean = go_path::clean(&format!("/{path}"));
    clean.trim_start_matches('/').into()
}

/// The path of a name in an archive, without what leads to the root.
fn plain_path(name: &str) -> PathBuf {
    let parts = Path::new(name).components();
    parts.filter(|p| !matches!(p, Component::RootDir | Component::CurDir)).collect()
}

/// Writes what the archive holds below `prefix` to `target`; nothing outside it, and no symbolic
/// links. A hard link is a copy of the file that came before it; kubectl makes an empty file of it.
/// The archive is the container's, so each of its paths is resolved beneath the target: a
/// link that lies there already leads no file out of it either.
fn unpack(
    archive: impl Read,
    prefix: &Path,
    target: &Path,
    note: &mut dyn FnMut(String),
) -> Result<(), Fail> {
    let mut archive = tar::Archive::new(archive);
    // As many as there are files on the disk then.
    let mut written: HashSet<PathBuf> = HashSet::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let plain = plain_path(&name);
        let Ok(rest) = plain.strip_prefix(prefix) else {
            return text(format!("tar contents corrupted: {}", quote(&name)));
        };
        if rest.components().any(|c| !matches!(c, Component::Normal(_))) {
            note(format!("warning: file {} is outside target destination, skipping", quote(&name)));
            continue;
        }
        let whole = rest.as_os_str().is_empty();
        let kind = entry.header().entry_type();
        match kind {
            tar::EntryType::Directory if whole => std::fs::create_dir_all(target)?,
            tar::EntryType::Directory => drop(root_of(target)?.make_dirs(rest, 0o755).map_err(failed)?),
            // A single file goes to the target itself, whose path is the user's and may lead over
            // links.
            _ if whole && kind.is_file() => drop(std::io::copy(&mut entry, &mut create_file(target)?)?),
            _ if kind.is_file() => {
                let file = match new_file(&root_of(target)?, rest) {
                    Ok(file) => file,
                    Err(error) => {
                        note(format!("warning: skipping {}: {}", quote(&name), error.line()));
                        continue;
                    }
                };
                std::io::copy(&mut entry, &mut { file })?;
                written.insert(rest.into());
            }
            tar::EntryType::Link => {
                let to = entry.link_name()?.unwrap_or_default().to_string_lossy().into_owned();
                let linked = plain_path(&to);
                let first = linked.strip_prefix(prefix).ok().filter(|first| written.contains(*first));
                let Some(first) = first else {
                    note(format!("warning: skipping hard link: {} -> {}", quote(&name), quote(&to)));
                    continue;
                };
                match linked_files(&root_of(target)?, first, rest) {
                    Ok(None) => {}
                    Ok(Some((mut from, mut file))) => drop(std::io::copy(&mut from, &mut file)?),
                    Err(error) => note(format!("warning: skipping {}: {}", quote(&name), error.line())),
                }
            }
            tar::EntryType::Symlink => {
                let to = entry.link_name()?.unwrap_or_default().display().to_string();
                note(format!("warning: skipping symlink: {} -> {}", quote(&name), quote(&to)));
            }
            _ => note(format!("warning: skipping {}: neither a file nor a directory", quote(&name))),
        }
    }
    Ok(())
}

/// The file that a single file is copied to. As with kubectl, a directory is refused: the user must
/// name the file.
fn create_file(target: &Path) -> Result<File, Fail> {
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent)?;
    }
    File::create(target).map_err(|e| {
        let why = match e.raw_os_error() {
            Some(nix::libc::EISDIR) => "is a directory; name the file, too".to_string(),
            _ => crate::error::go_io(&e),
        };
        Fail::Text(format!("open {}: {why}", target.display()))
    })
}

fn failed(error: linux::Error) -> Fail {
    Fail::from(std::io::Error::new(error.cause.kind(), error.line()))
}

/// The directory that entries are written beneath.
fn root_of(target: &Path) -> Result<Root, Fail> {
    std::fs::create_dir_all(target)?;
    Root::open(target).map_err(failed)
}

/// An empty file beneath a directory, open for writing.
fn new_file(root: &Root, path: &Path) -> linux::Result<File> {
    root.write_file(path, b"", 0o644)?;
    let place = root.open_beneath(path, Kind::Place)?;
    let found = nix::sys::stat::fstat(&place)
        .map_err(|cause| linux::Error::new(format!("cannot look at {}", path.display()), cause))?;
    if found.st_mode & nix::libc::S_IFMT != nix::libc::S_IFREG {
        return Err(linux::Error::new(format!("{} is no file", path.display()), ErrorKind::InvalidInput));
    }
    // This path means the open file, also if another file has its name by now.
    let own = format!("/proc/self/fd/{}", place.as_raw_fd());
    File::options()
        .write(true)
        .open(own)
        .map_err(|cause| linux::Error::new(format!("cannot write {}", path.display()), cause))
}

/// Opens a file of the archive that was written before, and an empty one for another name of it.
/// `None`: both names already mean one file here, which must not be emptied.
///
/// Example: the user unpacked the same directory with `tar` once, which made hard links.
fn linked_files(root: &Root, first: &Path, name: &Path) -> linux::Result<Option<(File, File)>> {
    let from = File::from(root.open_beneath(first, Kind::File)?);
    let id = |file: &File| file.metadata().map(|found| (found.dev(), found.ino())).ok();
    if let Ok(there) = root.open_beneath(name, Kind::Place)
        && id(&File::from(there)) == id(&from)
    {
        return Ok(None);
    }
    Ok(Some((from, new_file(root, name)?)))
}

#[cfg(test)]
mod tests;

use super::*;
use crate::testing::{Server, Socket, refusal};
use futures::SinkExt;
use parking_lot::Mutex;
use serde_json::json;
use std::os::unix::fs::symlink;
use tar::EntryType;
use tokio_tungstenite::tungstenite::Message;

/// An archive of (name, kind, link target or content); names go in as they are, whatever a
/// builder would refuse.
fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(vec![]);
    for (name, kind, text) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        let content = if kind.is_file() { text.as_bytes() } else { b"" };
        header.set_size(content.len() as u64);
        if kind.is_symlink() || kind.is_hard_link() {
            header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn unpacked(entries: &[(&str, EntryType, &str)], target: &Path) -> (bool, Vec<String>) {
    let mut notes = Vec::new();
    let done = unpack(&archive(entries)[..], Path::new("data"), target, &mut |note| notes.push(note));
    (done.is_ok(), notes)
}

#[test]
fn a_hostile_archive_writes_nothing_outside_of_its_target() {
    let dir = tempfile::tempdir().unwrap();
    let (target, outside) = (dir.path().join("target"), dir.path().join("outside"));
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::write(outside.join("keep"), "as it was").unwrap();
    std::fs::create_dir_all(&target).unwrap();
    symlink(&outside, target.join("before")).unwrap(); // from an earlier life of the directory
    let up = outside.display().to_string();
    let entries = [
        ("data/good/a", EntryType::Regular, "1"),
        ("data/../outside/keep", EntryType::Regular, "changed"), // CVE-2018-1002100
        ("data/link", EntryType::Symlink, up.as_str()),          // CVE-2019-1002101, 11246
        ("data/link/keep", EntryType::Regular, "changed"),
        ("data/hard", EntryType::Link, up.as_str()),
        ("data/up", EntryType::Symlink, ".."), // CVE-2019-11251
        ("data/up/outside/keep", EntryType::Regular, "changed"),
        ("data/before/keep", EntryType::Regular, "changed"), // CVE-2019-11249
        ("data/before/new", EntryType::Regular, "new"),
        ("data/fifo", EntryType::Fifo, ""),
        ("data/disk", EntryType::Block, ""),
        ("data/last", EntryType::Regular, "2"),
    ];
    let (done, notes) = unpacked(&entries, &target);
    assert!(done, "{notes:?}");
    assert_eq!(std::fs::read_to_string(outside.join("keep")).unwrap(), "as it was");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(std::fs::read_to_string(target.join("good/a")).unwrap(), "1");
    assert_eq!(std::fs::read_to_string(target.join("last")).unwrap(), "2");
    assert!(!target.join("fifo").exists() && !target.join("disk").exists() && !target.join("hard").exists());
    assert_eq!(notes.len(), 8, "{notes:?}");
    assert!(!unpacked(&[("elsewhere", EntryType::Regular, "x")], &target).0);
}

/// A file with several names is in an archive once; its other names are hard links.
#[test]
fn a_hard_link_is_a_copy_of_the_file_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("target");
    std::fs::create_dir_all(&target).unwrap();
    std::fs::write(target.join("old"), "local").unwrap();
    let entries = [
        ("data/a", EntryType::Regular, "text"),
        ("data/sub/b", EntryType::Link, "data/a"),
        ("data/c", EntryType::Link, "data/old"), // the archive does not have it
        ("data/d", EntryType::Link, "data/../data/a"),
    ];
    let (done, notes) = unpacked(&entries, &target);
    assert!(done && notes.len() == 2, "{notes:?}");
    assert_eq!(notes[0], "warning: skipping hard link: \"data/c\" -> \"data/old\"");
    assert_eq!(std::fs::read_to_string(target.join("sub/b")).unwrap(), "text");
    assert!(!target.join("c").exists() && !target.join("d").exists());
    // Where the two names mean one file already, the file keeps its content.
    std::fs::remove_file(target.join("sub/b")).unwrap();
    std::fs::hard_link(target.join("a"), target.join("sub/b")).unwrap();
    assert_eq!(unpacked(&entries[..2], &target), (true, vec![]));
    assert_eq!(std::fs::read_to_string(target.join("sub/b")).unwrap(), "text");
}

/// Sends a container's output.
async fn say(socket: &mut Socket, channel: u8, bytes: &[u8]) {
    let message = [&[channel][..], bytes].concat();
    socket.send(Message::Binary(message.into())).await.unwrap();
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "c"}]}, "status": {"phase": "Running"}})
}

const POD: &str = "/api/v1/namespaces/default/pods/p";
const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_server_knows_which_containers_a_pod_has() {
    let why = "container nope is not valid for pod p";
    let server = Server::start_with(move |request| {
        request.path.ends_with("/exec").then(|| refusal(400, "BadRequest", why))
    })
    .await;
    server.hold(POD, pod());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a").display().to_string();
    std::fs::write(&file, "x").unwrap();
    for line in [["cp", &file, "p:/a", "-c", "nope"], ["cp", "p:/a", &file, "-c", "nope"]] {
        let result = server.kubectl(&line).await;
        let want = format!("Error from server (BadRequest): {why}\n");
        assert!(result.code == 1 && result.err.contains(&want), "{line:?}: {result:?}");
    }
}

/// The first file is on the disk before the container has sent the second; then the connection
/// breaks, and the copy goes on from there.
#[tokio::test]
async fn a_copy_is_written_as_it_comes_and_goes_on_where_it_broke_off() {
    let dir = tempfile::tempdir().unwrap();
    let (out, content) = (dir.path().join("out"), "x".repeat(300_000));
    let whole = archive(&[("data/a", EntryType::Regular, &content), ("data/b", EntryType::Regular, "last")]);
    let (first, commands) = (out.join("a"), Arc::new(Mutex::new(vec![])));
    let (received, size) = (commands.clone(), content.len() as u64);
    let server = Server::start_exec(move |command, mut socket| {
        let (whole, first, received) = (whole.clone(), first.clone(), received.clone());
        Box::pin(async move {
            let tries = {
                let mut received = received.lock();
                received.push(command.last().cloned().unwrap_or_default());
                received.len()
            };
            let half = 512 + 300_032;
            if tries == 1 {
                for part in whole[..half].chunks(32 << 10) {
                    say(&mut socket, 1, part).await;
                }
                let is_written = || std::fs::metadata(&first).is_ok_and(|file| file.len() == size);
                let written = async {
                    while !is_written() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                tokio::time::timeout(LIMIT, written).await.expect("the first file, before the rest came");
                return; // without a word
            }
            say(&mut socket, 1, &whole[half..]).await;
            say(&mut socket, 3, br#"{"status":"Success"}"#).await;
            socket.close(None).await.unwrap();
        })
    })
    .await;
    server.hold(POD, pod());
    let target = out.display().to_string();
    let args = ["cp", "p:/data", &target, "--retries=2"];
    let result = server.kubectl(&args);
    let result = tokio::time::timeout(LIMIT * 2, result).await.expect("an end");
    assert_eq!(result.code, 0, "{result:?}");
    assert!(result.err.contains("Resuming copy at 300544 bytes, retry 1/2"), "{result:?}");
    assert_eq!(std::fs::read_to_string(out.join("a")).unwrap(), content);
    assert_eq!(std::fs::read_to_string(out.join("b")).unwrap(), "last");
    let commands = commands.lock();
    assert_eq!(*commands, ["tar cf - '/data' | tail -c+1", "tar cf - '/data' | tail -c+300545"]);
}

#[tokio::test]
async fn a_copy_that_keeps_breaking_off_is_given_up_and_without_retries_at_once() {
    for (option, tries) in [("--retries=1", 2), ("--retries=0", 1)] {
        let count = Arc::new(AtomicU64::new(0));
        let tries_made = count.clone();
        let server = Server::start_exec(move |_, socket| {
            tries_made.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move { drop(socket) })
        })
        .await;
        server.hold(POD, pod());
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out").display().to_string();
        let args = ["cp", "p:/data", &target, option];
        let result = server.kubectl(&args);
        let result = tokio::time::timeout(LIMIT, result).await.expect("an end");
        assert_eq!((result.code, count.load(Ordering::SeqCst)), (1, tries), "{result:?}");
    }
}

#[test]
fn one_file_goes_where_the_user_says_and_links_are_packed_as_links() {
    let dir = tempfile::tempdir().unwrap();
    let (target, source) = (dir.path().join("file"), dir.path().join("source"));
    assert!(unpacked(&[("data", EntryType::Regular, "text")], &target).0);
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "text");
    std::fs::create_dir(&source).unwrap();
    symlink("/etc/passwd", source.join("link")).unwrap();
    let (folder, empty) = (dir.path().join("link to a folder"), dir.path().join("empty"));
    symlink(&source, &folder).unwrap();
    std::fs::create_dir(&empty).unwrap();
    for (source, want) in [
        // The folder itself is none: one of this name in the container stays as it is.
        (source, [EntryType::Symlink]),
        (folder, [EntryType::Symlink]),
        (empty, [EntryType::Directory]),
    ] {
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
        packed(&source, Path::new("name"), writer.into()).unwrap(); // small enough for the pipe
        let mut archive = tar::Archive::new(File::from(reader));
        let entries = archive.entries().unwrap();
        let kinds: Vec<_> = entries.map(|e| e.unwrap().header().entry_type()).collect();
        assert_eq!(kinds, want);
    }
}

/// A file that changes while it is packed, such as a log: entries behind it must stay readable.
#[test]
fn a_file_that_changes_while_it_is_packed_does_not_spoil_the_archive() {
    let mut builder = tar::Builder::new(vec![]);
    for (name, content, same) in [("grown", "123456", false), ("shrunk", "1", false), ("same", "1234", true)]
    {
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        let packed = pack_file(&mut builder, &mut header, Path::new(name), content.as_bytes());
        assert_eq!(packed.unwrap(), same, "{name}");
    }
    let bytes = builder.into_inner().unwrap();
    let mut archive = tar::Archive::new(&bytes[..]);
    let read = archive.entries().unwrap().map(|entry| {
        let (mut entry, mut content) = (entry.unwrap(), String::new());
        entry.read_to_string(&mut content).unwrap();
        content
    });
    assert_eq!(read.collect::<Vec<_>>(), ["1234", "1\0\0\0", "1234"]);
}

/// A file of /proc has the length 0 and content all the same.
#[test]
fn a_file_that_changed_is_named() {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let refused = packed(Path::new("/proc/self/status"), Path::new("a"), writer.into()).unwrap_err();
    assert!(refused.message().starts_with("/proc/self/status changed"), "{refused:?}");
    let mut archive = tar::Archive::new(File::from(reader));
    assert_eq!(archive.entries().unwrap().map(|entry| entry.unwrap().size()).collect::<Vec<_>>(), [0]);
}

#[test]
fn a_folder_goes_to_the_target_itself_however_its_path_was_written() {
    let dir = tempfile::tempdir().unwrap();
    for (path, name) in [("/data", "data/a"), ("./data/", "./data/a"), (".", "./a"), ("/x/../data", "data/a")]
    {
        let out = dir.path().join("out");
        std::fs::create_dir(&out).unwrap(); // that it is there already changes nothing
        let archive = archive(&[(name, EntryType::Regular, "1")]);
        let mut notes = vec![];
        unpack(&archive[..], &relative(path), &out, &mut |note| notes.push(note)).unwrap();
        assert_eq!(std::fs::read_to_string(out.join("a")).unwrap(), "1", "{path}: {notes:?}");
        std::fs::remove_dir_all(&out).unwrap();
    }
    let archive = archive(&[("data", EntryType::Regular, "1")]);
    let refused = unpack(&archive[..], Path::new("data"), dir.path(), &mut |_| {}).unwrap_err();
    assert!(refused.message().contains("is a directory"), "{refused:?}");
    assert_eq!(shell_word("a'b c"), "'a'\\''b c'");
}

#[test]
fn a_target_is_a_name_in_a_directory_without_detours() {
    for (target, parent, name) in [
        ("/tmp/f/.", "/tmp", "f"),
        ("/tmp/f/..", "/", "tmp"),
        ("/tmp/x/../a", "/tmp", "a"),
        ("/a/", "/", "a"),
        ("/..", "/", "."),
        ("//", "/", "."),
        ("a", ".", "a"),
        ("a/..", ".", "."),
        ("../a", "..", "a"),
        ("a/../..", "..", "."),
    ] {
        assert_eq!(parent_and_name(target), (parent.into(), name.into()), "{target}");
    }
}

#[tokio::test]
async fn an_empty_path_is_not_the_working_directory() {
    let server = Server::start().await;
    for line in [["cp", "", "p:/tmp"], ["cp", "p:/tmp", ""], ["cp", "", ""]] {
        let result = server.kubectl(&line).await;
        assert_eq!((result.code, result.err.as_str()), (1, "error: filepath can not be empty\n"), "{line:?}");
    }
    assert!(server.requests().is_empty(), "nothing was asked");
}

#[tokio::test(start_paused = true)]
async fn a_container_that_does_not_say_what_the_destination_is_does_not_hold_the_copy() {
    let refused = is_folder(std::future::pending()).await.unwrap_err();
    assert_eq!(refused.message(), "context deadline exceeded");
    assert!(is_folder(async { Ok(()) }).await.unwrap());
    assert!(!is_folder(async { text("command terminated with exit code 1") }).await.unwrap());
}

#[tokio::test]
async fn a_pod_without_a_namespace_is_one_of_the_users() {
    let server = Server::start().await;
    for from in ["p:/f", "/p:/f"] {
        let result = server.kubectl(&["cp", from, "x"]).await;
        let last = server.requests().pop().map(|request| request.path);
        assert_eq!(last.as_deref(), Some("/api/v1/namespaces/default/pods/p"), "{result:?}");
    }
}

#[tokio::test]
async fn what_the_containers_tar_says_goes_to_standard_output() {
    let note = "tar: removing leading '/' from member names\n";
    let server = Server::start_exec(move |_, mut socket| {
        Box::pin(async move {
            say(&mut socket, 2, note.as_bytes()).await;
            say(&mut socket, 1, &archive(&[("data", EntryType::Regular, "1")])).await;
            say(&mut socket, 3, br#"{"status":"Success"}"#).await;
            socket.close(None).await.unwrap();
        })
    })
    .await;
    let mut two = pod();
    two["spec"]["containers"] = json!([{"name": "c"}, {"name": "d"}]);
    server.hold(POD, two);
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("file").display().to_string();
    for end in ["", "/"] {
        let result = server.kubectl(&["cp", "p:/data", &format!("{target}{end}")]).await;
        let want = format!("Defaulted container \"c\" out of: c, d\n{note}");
        assert_eq!((result.code, result.out, result.err.as_str()), (0, want, ""));
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "1");
        std::fs::remove_file(&target).unwrap();
    }
}

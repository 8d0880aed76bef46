//! Log files of the node at `/logs/`, where upstream serves `/var/log` (`enableSystemLogHandler`).
//! A node of this cluster has those of its pods there, `pods/NAMESPACE_NAME_UID/CONTAINER/0.log`.
//!
//! Try it: `kubectl get --raw /api/v1/nodes/NODE/proxy/logs/pods/`.

use super::{Body, refuse};
use crate::pods::Kubelet;
use futures::StreamExt;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use linux::beneath::{Kind, Root};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use tokio_util::io::ReaderStream;

/// Names of a directory that are listed.
const NAMES_MAX: usize = 10_000;
/// Bytes of a file that are read at a time.
const CHUNK: usize = 32 << 10;

/// The file or directory that a path names.
enum Found {
    File(std::fs::File),
    /// Directories end with a slash.
    Names(Vec<String>),
}

/// Answers with the file or the list of the directory that `path` names below the logs.
///
/// # Errors
/// 404 for a path that names neither.
pub(super) async fn read(kubelet: &Kubelet, path: &str) -> Result<Response<Body>, Response<Body>> {
    let (root, asked) = (kubelet.config.dir.join("log"), PathBuf::from(path));
    // Files are read where a thread may wait for the disk.
    let found = tokio::task::spawn_blocking(move || find(&root, &asked)).await;
    let (media, mut answer) = match found {
        Ok(Ok(Found::File(file))) => ("text/plain; charset=utf-8", Response::new(stream(file))),
        Ok(Ok(Found::Names(names))) => ("text/html; charset=utf-8", refuse(StatusCode::OK, page(&names))),
        _ => return Err(refuse(StatusCode::NOT_FOUND, "404 page not found\n")),
    };
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    Ok(answer)
}

/// Opens the file, or lists the directory, that a path names below the logs.
///
/// # Errors
/// There is no such file or directory below `root`, or a link is in the way.
fn find(root: &Path, asked: &Path) -> linux::Result<Found> {
    let root = Root::open(root)?;
    if let Ok(file) = root.open_beneath(asked, Kind::File) {
        return Ok(Found::File(file.into()));
    }
    let is_plain = |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let names = root.names_plain(asked, NAMES_MAX)?;
    let mut names: Vec<String> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
    names.retain(is_plain); // no log has another name, which would have to be escaped
    for name in &mut names {
        if root.open_beneath(&asked.join(&*name), Kind::Directory).is_ok() {
            name.push('/');
        }
    }
    names.sort();
    Ok(Found::Names(names))
}

/// Writes the page on which Go's file server lists a directory.
fn page(names: &[String]) -> String {
    let lines: String = names.iter().map(|name| format!("<a href=\"{name}\">{name}</a>\n")).collect();
    format!("<!doctype html>\n<pre>\n{lines}</pre>\n")
}

/// Returns the file as it is now. Where it cannot be read on, the answer ends.
fn stream(file: std::fs::File) -> Body {
    let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK);
    let pieces = pieces.take_while(|piece| std::future::ready(piece.is_ok()));
    let pieces = pieces.map(|piece| Ok::<_, Infallible>(Frame::data(piece.unwrap_or_default())));
    BodyExt::boxed(StreamBody::new(pieces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_and_directories_are_found_below_the_logs_only() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let pod = dir.path().join("pods/default_web_1/web");
        std::fs::create_dir_all(&pod).unwrap();
        std::fs::write(pod.join("0.log"), "a line\n").unwrap();
        std::fs::write(pod.join("<b>"), "").unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("out")).unwrap();
        let names = |path: &str| match find(dir.path(), Path::new(path)) {
            Ok(Found::Names(names)) => names.join(" "),
            Ok(Found::File(_)) => "a file".into(),
            Err(_) => "nothing".into(),
        };
        assert_eq!(names(""), "out pods/");
        assert_eq!(names("pods/default_web_1/"), "web/");
        assert_eq!(names("pods/default_web_1/web"), "0.log");
        assert_eq!(page(&["0.log".into()]), "<!doctype html>\n<pre>\n<a href=\"0.log\">0.log</a>\n</pre>\n");
        for path in ["out", "out/", "../", "none", "/etc", "pods/default_web_1/web/1.log"] {
            assert_eq!(names(path), "nothing", "{path}");
        }
        let Ok(Found::File(file)) = find(dir.path(), Path::new("pods/default_web_1/web/0.log")) else {
            panic!("no file");
        };
        assert_eq!(stream(file).collect().await.unwrap().to_bytes(), "a line\n");
    }
}

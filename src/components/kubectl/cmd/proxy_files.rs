//! proxy --www: the files of a folder, as Go's file server shows them.

use super::proxy::{Body, plain};
use crate::wire::paths;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use std::path::Path;

const HTML: &str = "text/html; charset=utf-8";
/// Bytes at the start of a file that are looked at if its name has no known content type.
const SNIFFED: usize = 512;

/// Answers a request for a path of a URL at or below `prefix`, which ends in a slash. `None`: the
/// path is another one.
pub(super) fn answer(folder: &Path, prefix: &str, path: &str, query: Option<&str>) -> Option<Response<Body>> {
    // As Go's mux, which redirects to the prefix itself.
    if prefix.strip_suffix('/') == Some(path) {
        return Some(into_folder(path, query));
    }
    path.strip_prefix(prefix).map(|rest| below(folder, rest, query))
}

/// Answers a request for what `rest`, a part of a URL, names below the folder: a file, or of a
/// folder its `index.html` or a page with links to what it holds.
fn below(folder: &Path, rest: &str, query: Option<&str>) -> Response<Body> {
    let name = percent_encoding::percent_decode_str(rest).decode_utf8_lossy().into_owned();
    if name.split('/').any(|part| part == "..") {
        return plain(StatusCode::BAD_REQUEST, "invalid URL path\n");
    }
    let path = folder.join(name.trim_start_matches('/'));
    if !path.is_dir() {
        return file(&path);
    }
    if !name.is_empty() && !name.ends_with('/') {
        return into_folder(rest, query);
    }
    let index = path.join("index.html");
    match index.is_file() {
        true => file(&index),
        false => listing(&path).map_or_else(|_| missing(), |page| of_kind(page, HTML)),
    }
}

fn missing() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "404 page not found\n")
}

fn of_kind(content: impl Into<Bytes>, kind: &'static str) -> Response<Body> {
    let mut response = plain(StatusCode::OK, content);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn file(path: &Path) -> Response<Body> {
    let Ok(content) = std::fs::read(path) else { return missing() };
    let end = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    let kind = match end.as_deref() {
        Some("html" | "htm") => HTML,
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("xml") => "text/xml; charset=utf-8",
        Some("json") => "application/json",
        Some("pdf") => "application/pdf",
        Some("wasm") => "application/wasm",
        Some("avif") => "image/avif",
        Some("gif") => "image/gif",
        Some("jpeg" | "jpg") => "image/jpeg",
        Some("png") => "image/png",
        Some("svg") => "image/svg+xml",
        Some("webp") => "image/webp",
        _ if is_text(&content) => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    };
    of_kind(content, kind)
}

/// Returns whether the first bytes of a file can be text: none is a control character that Go's
/// sniffing takes for data.
fn is_text(content: &[u8]) -> bool {
    let is_of_data = |byte: &u8| matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f);
    !content.iter().take(SNIFFED).any(is_of_data)
}

/// Redirects to the path of a folder that ends in a slash: from there the links of its page lead.
fn into_folder(rest: &str, query: Option<&str>) -> Response<Body> {
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    let last = rest.rsplit('/').next().unwrap_or(rest);
    let mut response = plain(StatusCode::MOVED_PERMANENTLY, "");
    if let Ok(target) = HeaderValue::from_str(&format!("{last}/{query}")) {
        response.headers_mut().insert(header::LOCATION, target);
    }
    response
}

/// A page with links to what a folder holds.
fn listing(folder: &Path) -> std::io::Result<String> {
    let mut names = vec![];
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let end = if entry.file_type()?.is_dir() { "/" } else { "" };
        names.push((entry.file_name().to_string_lossy().into_owned(), end));
    }
    names.sort();
    let link = |(name, end): &(String, &str)| {
        let escaped = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        // A name with a colon would be another protocol, were it not for the `./`.
        format!("<a href=\"./{}{end}\">{escaped}{end}</a>\n", paths::segment(name))
    };
    let links: String = names.iter().map(link).collect();
    Ok(format!(
        "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n{links}</pre>\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_folder_is_shown_by_its_page_or_as_links() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("site")).unwrap();
        std::fs::write(dir.path().join("site/index.html"), "home").unwrap();
        std::fs::write(dir.path().join("a&b c"), "text").unwrap();
        let links = "<a href=\"./a%26b%20c\">a&amp;b c</a>\n<a href=\"./site/\">site/</a>\n";
        for (rest, status, place, body) in [
            ("", 301, "s/?q=1", ""),
            ("/", 200, "", links),
            ("/site/", 200, "", "home"),
            ("/site", 301, "site/?q=1", ""),
            ("/a%26b%20c", 200, "", "text"),
            ("/gone", 404, "", "404 page not found\n"),
            ("/site/../x", 400, "", "invalid URL path\n"),
        ] {
            let response = answer(dir.path(), "/s/", &format!("/s{rest}"), Some("q=1")).unwrap();
            let location = response.headers().get(header::LOCATION).map_or("", |to| to.to_str().unwrap());
            assert_eq!((response.status().as_u16(), location), (status, place), "{rest}");
            let content = response.into_body().collect().await.unwrap().to_bytes();
            assert!(String::from_utf8_lossy(&content).contains(body), "{rest}: {content:?}");
        }
        assert!(answer(dir.path(), "/s/", "/sites", None).is_none());
    }

    #[test]
    fn a_file_has_the_content_type_of_its_name_or_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        for (name, content, kind) in [
            ("a.JPG", &b"x"[..], "image/jpeg"),
            ("a.wasm", b"\0asm", "application/wasm"),
            ("a.mjs", b"x", "text/javascript; charset=utf-8"),
            ("a.md", b"# a\n\ttext", "text/plain; charset=utf-8"),
            ("a.bin", b"\x01\x02", "application/octet-stream"),
        ] {
            std::fs::write(dir.path().join(name), content).unwrap();
            let response = answer(dir.path(), "/s/", &format!("/s/{name}"), None).unwrap();
            assert_eq!(response.headers()[header::CONTENT_TYPE], kind, "{name}");
        }
    }
}

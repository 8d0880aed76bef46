//! Media types by the ending of a name, as the file `mime.types` of nginx' image has them.

use std::path::Path;

/// Types, and the endings that have them.
const TYPES: &[(&str, &str)] = &[
    ("text/html", "html htm shtml"),
    ("text/css", "css"),
    ("text/xml", "xml"),
    ("text/plain", "txt"),
    ("image/gif", "gif"),
    ("image/jpeg", "jpeg jpg"),
    ("image/png", "png"),
    ("image/svg+xml", "svg svgz"),
    ("image/webp", "webp"),
    ("image/avif", "avif"),
    ("image/tiff", "tif tiff"),
    ("image/x-icon", "ico"),
    ("image/x-ms-bmp", "bmp"),
    ("font/woff", "woff"),
    ("font/woff2", "woff2"),
    ("application/javascript", "js"),
    ("application/json", "json"),
    ("application/wasm", "wasm"),
    ("application/pdf", "pdf"),
    ("application/zip", "zip"),
    ("application/atom+xml", "atom"),
    ("application/rss+xml", "rss"),
    ("application/xhtml+xml", "xhtml"),
    ("application/java-archive", "jar war ear"),
    ("application/rtf", "rtf"),
    ("application/vnd.apple.mpegurl", "m3u8"),
    ("application/vnd.ms-fontobject", "eot"),
    ("application/x-7z-compressed", "7z"),
    ("application/x-x509-ca-cert", "der pem crt"),
    ("application/octet-stream", "bin exe dll deb dmg iso img msi"),
    ("audio/midi", "mid midi kar"),
    ("audio/mpeg", "mp3"),
    ("audio/ogg", "ogg"),
    ("audio/x-m4a", "m4a"),
    ("video/mp2t", "ts"),
    ("video/mp4", "mp4"),
    ("video/mpeg", "mpeg mpg"),
    ("video/quicktime", "mov"),
    ("video/webm", "webm"),
    ("video/x-msvideo", "avi"),
];

/// Returns the type that a path's ending says, in any case, else `default`.
pub(super) fn mime<'a>(path: &Path, default: &'a str) -> &'a str {
    let Some(ending) = path.extension().and_then(|ending| ending.to_str()) else { return default };
    let is = |known: &str| known.eq_ignore_ascii_case(ending);
    let found = TYPES.iter().find(|(_, endings)| endings.split(' ').any(is));
    found.map_or(default, |(kind, _)| *kind)
}

/// Returns whether `charset` names the character set of this type too.
///
/// Source: the default of nginx' `charset_types`, in which `text/css` is not.
pub(super) fn has_charset(kind: &str) -> bool {
    matches!(
        kind,
        "text/html"
            | "text/xml"
            | "text/plain"
            | "text/vnd.wap.wml"
            | "application/javascript"
            | "application/rss+xml"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_says_the_type_in_any_case() {
        for (path, kind) in [
            ("/a/page.html", "text/html"),
            ("PHOTO.JPG", "image/jpeg"),
            ("a.tar.zip", "application/zip"),
            ("font.woff2", "font/woff2"),
            ("a.b/c", "x/y"),
            ("a.", "x/y"),
            ("", "x/y"),
        ] {
            assert_eq!(mime(Path::new(path), "x/y"), kind, "{path}");
        }
        assert!(has_charset("text/html") && has_charset("application/javascript"));
        assert!(!has_charset("text/css") && !has_charset("application/json"));
    }
}

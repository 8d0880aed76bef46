//! Where redirects lead.

use http::Uri;

/// Resolves the header `Location` of an answer: a URL, or what is relative to the URL that was
/// asked for (RFC 3986, 5.2). A path of the same server is for the same user.
///
/// Example: from `https://a/x/y`, `../z?v=1` leads to `https://a/z?v=1`, and `//b/z` to
/// `https://b/z`.
pub fn resolve_location(from: &Uri, location: &str) -> String {
    let to = location.split('#').next().unwrap_or_default();
    if to.split_once("://").is_some_and(|(word, _)| is_scheme(word)) {
        return to.to_string();
    }
    let scheme = from.scheme_str().unwrap_or("http");
    if let Some(rest) = to.strip_prefix("//") {
        return format!("{scheme}://{rest}");
    }
    let (path, query) = to.find('?').map_or((to, ""), |at| to.split_at(at));
    let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = match path {
        "" => from.path().to_string(),
        path if path.starts_with('/') => path.to_string(),
        path => format!("{folder}/{path}"),
    };
    let authority = from.authority().map_or("", |authority| authority.as_str());
    format!("{scheme}://{authority}{}{query}", without_dots(&path))
}

/// Returns true for the name of a URL's scheme (RFC 3986, 3.1). `/x?next=https` before `://` is
/// none.
fn is_scheme(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// Returns an absolute path without `.` and `..` (RFC 3986, 5.2.4): `/x/../y` is `/y`.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = vec![];
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    let is_folder = !kept.is_empty() && (path.ends_with("/.") || path.ends_with("/.."));
    format!("/{}{}", kept.join("/"), if is_folder { "/" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_relative_to_where_it_came_from() {
        let from: Uri = "http://a:80/x/y.yaml".parse().unwrap();
        for (location, to) in [
            ("https://b/z", "https://b/z"),
            ("/z", "http://a:80/z"),
            ("z.yaml", "http://a:80/x/z.yaml"),
            ("z#../b", "http://a:80/x/z"),
            ("/raw?next=https://b/", "http://a:80/raw?next=https://b/"),
            ("raw?next=../https://b/", "http://a:80/x/raw?next=../https://b/"),
            ("?v=1", "http://a:80/x/y.yaml?v=1"),
            ("../z", "http://a:80/z"),
            ("./b/../../../c/.", "http://a:80/c/"),
        ] {
            assert_eq!(resolve_location(&from, location), to, "{location}");
        }
        let from: Uri = "http://me:secret@a/x/y.yaml".parse().unwrap();
        for (location, to) in
            [("/z", "http://me:secret@a/z"), ("//b/z", "http://b/z"), ("https://b/z", "https://b/z")]
        {
            assert_eq!(resolve_location(&from, location), to, "{location}");
        }
    }
}

//! Names and paths of what a proxied request asks for.

/// Splits the name of a proxied node, pod or Service into scheme, name and port: `web`, `web:80` or
/// `https:web:443`. `None` for other names (upstream: `SplitSchemeNamePort`).
pub(crate) fn split(text: &str) -> Option<(&str, &str, &str)> {
    let (scheme, name, port) = match text.split(':').collect::<Vec<_>>()[..] {
        [name] => ("", name, ""),
        [name, port] => ("", name, port),
        [scheme, name, port] => (scheme, name, port),
        _ => return None,
    };
    (!name.is_empty() && matches!(scheme, "" | "http" | "https")).then_some((scheme, name, port))
}

/// Returns the decoded path that a server is asked for, without empty, `.` and `..` segments, as
/// upstream joins it. A slash at its end is kept: it names another page.
pub(super) fn clean(rest: &str, ends_with_slash: bool) -> String {
    let mut kept = vec![];
    for segment in rest.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    let end = if ends_with_slash && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_proxied_is_named_as_upstream_names_it() {
        for (asked, parts) in [
            ("n1", ("", "n1", "")),
            ("n1:10250", ("", "n1", "10250")),
            ("web:http", ("", "web", "http")),
            ("https:n1:10250", ("https", "n1", "10250")),
            ("http:n1:", ("http", "n1", "")),
        ] {
            assert_eq!(split(asked), Some(parts), "{asked}");
        }
        for asked in ["", ":1", "ftp:n1:1", "https::1", "a:b:c:d"] {
            assert_eq!(split(asked), None, "{asked}");
        }
    }

    #[test]
    fn a_path_does_not_lead_above_its_beginning() {
        for (rest, slash, path) in [
            ("", false, "/"),
            ("", true, "/"),
            ("a/b", true, "/a/b/"),
            ("/a//./b", false, "/a/b"),
            ("../../a/../b", false, "/b"),
        ] {
            assert_eq!(clean(rest, slash), path, "{rest}");
        }
    }
}

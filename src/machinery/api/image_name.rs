//! Names of images as Kubernetes reads them, in the grammar of distribution/reference:
//! `[DOMAIN/]PATH[:TAG][@DIGEST]`.
//!
//! The defaults of a pod ask here for its pull policy, and kubectl before it sends a name. The
//! container runtime has a parser of its own (`runtime`): upstream it is another program, which
//! refuses with the reason and fills in what a name leaves out.

/// Characters of a SHA-256 digest in hexadecimal digits.
const SHA256_LEN: usize = 64;

/// Characters of a tag at most.
const TAG_MAX: usize = 128;

/// Characters of a repository's path at most.
const PATH_MAX: usize = 255;

/// The folder of Docker Hub for names without one: `nginx` is `docker.io/library/nginx`.
const LIBRARY: &str = "library/";

/// Returns whether a text has the form of an image name, with nothing filled in: `Nginx` has not,
/// its path has a capital letter. Source: `ReferenceRegexp`.
pub fn is_reference(text: &str) -> bool {
    let Parts { name, tag, digest } = parts(text);
    let mut path = name.split('/');
    // The first part of several may be a domain, also one that looks like a path.
    let first = path.next().unwrap_or_default();
    let several = name.contains('/');
    (is_component(first) || several && is_domain(first))
        && path.all(is_component)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(has_form_of_digest)
}

/// Returns whether an image name asks for the tag `latest`, by name or by silence. As upstream, one
/// that cannot be read asks for nothing. Source: `ParseNormalizedNamed`.
pub fn is_latest(text: &str) -> bool {
    let Parts { name, tag, digest } = parts(text);
    let has_capitals = |text: &str| text.chars().any(char::is_uppercase);
    let looks_like_domain =
        |text: &str| text.contains(['.', ':']) || text == "localhost" || has_capitals(text);
    let (domain, path) = match name.split_once('/') {
        Some((first, path)) if looks_like_domain(first) && is_domain(first) => (first, path),
        // A first part that cannot be a domain is one of the path: `a_b.example.com/c`.
        Some((first, _)) if looks_like_domain(first) => ("", name),
        _ => ("docker.io", name),
    };
    // A lone digest could be taken for an image's id.
    let is_id = is_hex(text, SHA256_LEN);
    let is_in_library = matches!(domain, "docker.io" | "index.docker.io") && !path.contains('/');
    let length = path.len() + if is_in_library { LIBRARY.len() } else { 0 };
    let is_read = path.split('/').all(is_component) && length <= PATH_MAX && !is_id;
    match tag {
        _ if !is_read || !digest.is_none_or(is_digest) => false,
        Some(tag) => tag == "latest",
        None => digest.is_none(),
    }
}

/// The parts of an image name, each as it is written.
struct Parts<'a> {
    /// Domain and path.
    name: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

/// Takes an image name apart. A colon before the last slash is that of a port.
fn parts(text: &str) -> Parts<'_> {
    let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
    let last = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[last..].find(':') {
        Some(colon) => (&rest[..last + colon], Some(&rest[last + colon + 1..])),
        None => (rest, None),
    };
    Parts { name, tag, digest }
}

/// Returns whether this can be the registry of an image name: `example.com:5000`, or an address of
/// IPv6 in brackets.
fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !domain.ends_with(']') => (host, port),
        _ => (domain, "0"),
    };
    let is_label = |label: &str| {
        let is_inside = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !label.is_empty() && label.bytes().all(is_inside) && !label.starts_with('-') && !label.ends_with('-')
    };
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_host = match address {
        Some(address) => !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'),
        None => host.split('.').all(is_label),
    };
    is_host && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

/// Returns whether this can be a part of a repository's path: small letters and digits with single
/// separators between them, `.`, `_`, `__` or any number of `-`.
fn is_component(part: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator = |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|b| b == b'-');
    part.starts_with(is_letter) && part.ends_with(is_letter) && part.split(is_letter).all(is_separator)
}

/// Returns whether a text is a tag: letters, digits, `_`, `.` and `-`, the last two not in the
/// first place.
fn is_tag(tag: &str) -> bool {
    let is_inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (1..=TAG_MAX).contains(&tag.len()) && tag.bytes().all(is_inside) && !tag.starts_with(['.', '-'])
}

/// Returns whether a text has the form of a digest of any algorithm: `sha256:` and 32 hexadecimal
/// digits or more.
fn has_form_of_digest(digest: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let Some((algorithm, sum)) = digest.split_once(':') else { return false };
    algorithm.split(['-', '_', '+', '.']).all(is_word)
        && sum.len() >= 32
        && sum.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Returns whether this is a digest of an algorithm that Go knows: `sha256:` and 64 digits.
fn is_digest(digest: &str) -> bool {
    let (algorithm, sum) = digest.split_once(':').unwrap_or_default();
    match algorithm {
        "sha256" => is_hex(sum, SHA256_LEN),
        "sha384" => is_hex(sum, 96),
        "sha512" => is_hex(sum, 128),
        _ => false,
    }
}

/// Returns whether a text is this many hexadecimal digits, its letters in lower case.
fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_have_a_form() {
        let digest = |digits: &str| format!("busybox@sha256:{digits}");
        let (long, short) = (digest(&"A".repeat(64)), digest("a1"));
        for good in [
            "nginx",
            "nginx:1.25",
            "localhost:5000",
            "localhost:5000/a/b_c:T",
            "Reg.example/x",
            "host/a__b/c---d",
            "[::1]:5/x",
            &format!("a:{}", "t".repeat(128)),
            &format!("a:1@md5+b64:{}", "0".repeat(32)),
            &long,
        ] {
            assert!(is_reference(good), "{good}");
        }
        for bad in [
            "",
            "Nginx",
            "a/B",
            "a b",
            "nginx:",
            "a//b",
            "a/",
            "/a",
            "a..b",
            "a___b",
            "[::1]",
            "[::g]:5/x",
            "host:/x",
            "a:.1",
            "a\n",
            "-a",
            &format!("a:{}", "t".repeat(129)),
            &short,
        ] {
            assert!(!is_reference(bad), "{bad:?}");
        }
    }

    #[test]
    fn latest_is_a_tag_or_no_tag() {
        let long = |length: usize| "a".repeat(length);
        let sum = "0a".repeat(32);
        let (id, short) = (sum.as_str(), &sum[1..]);
        let (pinned, wrong) = (format!("nginx:latest@sha256:{id}"), format!("nginx:latest@sha256:{short}"));
        for (image, latest) in [
            (id, false),
            (short, true),
            (pinned.as_str(), true),
            (wrong.as_str(), false),
            ("nginx:latest@sha1:00", false),
            ("a//b", false),
            ("a/b__c.d--e/f", true),
            ("a..b", false),
            ("a_", false),
            ("a b", false),
            ("example.com:5000/a/b", true),
            ("example..com/a", false),
            ("-x.com/a", false),
            ("a_b.example.com/c", true),
            ("a_b.example.com:5000/c", false),
            ("x.com:/a", false),
            ("[::1]:5000/a", true),
            ("[::g]:5000/a", false),
            ("[::1]/a:1", false),
            ("nginx", true),
            ("nginx:latest", true),
            ("nginx:1.27", false),
            ("localhost:5000/nginx", true),
            ("localhost:5000/nginx:1", false),
            ("nginx@sha256:00", false),
            ("library/nginx:latest", true),
            ("Nginx", false),
            ("example.com/Nginx:latest", false),
            ("Example/nginx", true),
            ("nginx:Latest", false),
            ("", false),
            ("docker.io/a/b:latest", true),
            (long(247).as_str(), true),
            (long(248).as_str(), false),
            (format!("docker.io/{}", long(248)).as_str(), false),
            (format!("x.com/{}", long(255)).as_str(), true),
            (format!("x.com/{}", long(256)).as_str(), false),
        ] {
            assert_eq!(is_latest(image), latest, "{image}");
        }
    }
}

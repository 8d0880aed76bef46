//! Names of images, in Docker's grammar, read as a container runtime does: with a reason for a
//! refusal, and with what is left out filled in. What the API server and kubectl ask of a name is
//! in `api::image_name`; a runtime does not know Kubernetes' types.

use cri::{Error, Result};

/// An image reference with nothing left out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Registry and repository.
    pub name: String,
    /// `latest` if it was left out.
    pub tag: String,
    /// `sha256:…`, which then decides alone.
    pub digest: Option<String>,
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.digest {
            Some(digest) => write!(f, "{}@{digest}", self.name),
            None => write!(f, "{}:{}", self.name, self.tag),
        }
    }
}

impl Reference {
    /// Reads a reference by Docker's rules: the first part is a registry if it looks like a host,
    /// else `docker.io`, and a lone name is in `library/`. The grammar is that of
    /// distribution/reference, and so are the reasons.
    ///
    /// # Errors
    /// `BadImageName`.
    pub(crate) fn parse(text: &str) -> Result<Reference> {
        let bad = |why: String| Error::BadImageName { image: text.to_string(), why };
        // A lone digest could be taken for an image's id.
        if is_hex(text, SHA256_LEN) {
            let why = format!("invalid repository name ({text}), cannot specify 64-byte hexadecimal strings");
            return Err(bad(why));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let slash = rest.rfind('/').map_or(0, |at| at + 1);
        let (path, tag) = match rest[slash..].split_once(':') {
            Some((last, tag)) => (format!("{}{last}", &rest[..slash]), tag),
            None => (rest.to_string(), "latest"),
        };
        let (host, repository) = match path.split_once('/') {
            Some((first, more)) if is_registry(first) => (first, more.to_string()),
            _ => ("docker.io", path.clone()),
        };
        let host = if host == "index.docker.io" { "docker.io" } else { host };
        let lone = host == "docker.io" && !repository.contains('/');
        let repository = if lone { format!("library/{repository}") } else { repository };
        if repository.to_lowercase() != repository {
            return Err(bad(format!("{NO_REFERENCE}: repository name ({repository}) must be lowercase")));
        }
        if !repository.split('/').all(is_component) || !is_host(host) || !is_tag(tag) {
            return Err(bad(NO_REFERENCE.to_string()));
        }
        if repository.len() > NAME_MAX {
            return Err(bad(format!("repository name must not be more than {NAME_MAX} characters")));
        }
        digest.map_or(Ok(()), check_digest).map_err(|why| bad(why.to_string()))?;
        let name = format!("{host}/{repository}");
        Ok(Reference { name, tag: tag.to_string(), digest: digest.map(str::to_string) })
    }
}

/// The reason for a text that has not the form of a reference.
const NO_REFERENCE: &str = "invalid reference format";

/// Bytes of a repository's name.
const NAME_MAX: usize = 255;

/// Characters of a SHA-256 digest in hexadecimal digits.
const SHA256_LEN: usize = 64;

/// Letters, digits, `_`, `.` and `-`; the last two not in the first place.
fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !text.is_empty() && text.len() <= 128 && text.chars().all(word) && !text.starts_with(['.', '-'])
}

/// Checks that a text is a digest of one of the algorithms that the kubelet knows.
///
/// # Errors
/// It is none; the reason.
fn check_digest(text: &str) -> std::result::Result<(), &'static str> {
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let (algorithm, digits) = text.split_once(':').ok_or(NO_REFERENCE)?;
    let has_form = algorithm.split(['-', '_', '+', '.']).all(is_word)
        && digits.len() >= 32
        && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if !has_form {
        return Err(NO_REFERENCE);
    }
    let length = match algorithm {
        "sha256" => SHA256_LEN,
        "sha384" => 96,
        "sha512" => 128,
        _ => return Err("unsupported digest algorithm"),
    };
    match is_hex(digits, length) {
        true => Ok(()),
        false if digits.len() == length => Err("invalid checksum digest format"), // capitals
        false => Err("invalid checksum digest length"),
    }
}

/// Returns whether a text is this many hexadecimal digits, letters in lower case.
fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns whether the first part of a reference can only be a registry: a name of `docker.io` has
/// neither dots and colons before its first slash nor capitals.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.contains(|c: char| c.is_ascii_uppercase())
}

/// Returns whether a text is words of lower-case letters and digits, with one of the separators
/// `.`, `_`, `__` or any number of `-` between them.
fn is_component(part: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator = |run: &str| matches!(run, "." | "_" | "__") || run.bytes().all(|b| b == b'-');
    part.starts_with(is_word) && part.ends_with(is_word) && part.split(is_word).all(is_separator)
}

/// Returns whether a text is a name or an address, which may have a port.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => (name, port),
        _ => (host, "0"),
    };
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_name = match address {
        Some(address) => !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'),
        None => name.split('.').all(is_label),
    };
    is_name && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_completed_as_docker_does() {
        for (short, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.26", "docker.io/library/nginx:1.26"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("someone/app", "docker.io/someone/app:latest"),
            ("localhost:5000/app:x", "localhost:5000/app:x"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
            ("Registry/app_1.x__y---z", "Registry/app_1.x__y---z:latest"),
            ("[::1]:5000/a/b:x", "[::1]:5000/a/b:x"),
        ] {
            assert_eq!(Reference::parse(short).unwrap().to_string(), full);
        }
        let with_tag = format!("nginx:1.26@sha256:{}", "a1".repeat(32));
        let without_tag = format!("docker.io/library/nginx@sha256:{}", "a1".repeat(32));
        assert_eq!(Reference::parse(&with_tag).unwrap().to_string(), without_tag, "the digest decides");
        let with_sha512 = format!("docker.io/library/nginx@sha512:{}", "a1".repeat(64));
        assert_eq!(Reference::parse(&with_sha512).unwrap().to_string(), with_sha512);
        let long = "x".repeat(256);
        let (id, capitals) = ("a1".repeat(32), format!("nginx@sha256:{}", "A1".repeat(32)));
        for bad in [
            "",
            "Nginx",
            "nginx:",
            "nginx::1",
            "a//b",
            "nginx@sha256:12",
            "-x",
            "nginx:a b",
            "nginx-",
            "nginx.",
            "nginx_/x",
            "a..b/c",
            "a.-b",
            "x/a___b",
            "my host.io/app",
            "-host.io/app",
            "host.io:/app",
            "host.io:x/app",
            "[::g]:5000/app",
            &long,
            &id,
            &capitals,
        ] {
            assert!(matches!(Reference::parse(bad), Err(Error::BadImageName { .. })), "{bad:?}");
        }
    }

    /// A capital letter is what a beginner writes.
    #[test]
    fn a_bad_name_is_refused_with_its_reason() {
        let why = |image: &str| {
            let line = Reference::parse(image).unwrap_err().line();
            line.strip_prefix(&format!("couldn't parse image name {image:?}: ")).unwrap().to_string()
        };
        let capital =
            |name: &str| format!("invalid reference format: repository name ({name}) must be lowercase");
        assert_eq!(why("Nginx:1.27"), capital("library/Nginx"));
        assert_eq!(why("host.io/Team/app"), capital("Team/app"));
        for image in ["", "nginx:a b", "nginx@sha256:12", "nginx@sha256"] {
            assert_eq!(why(image), "invalid reference format", "{image:?}");
        }
        assert_eq!(why(&"x".repeat(256)), "repository name must not be more than 255 characters");
        let digits = "a1".repeat(32);
        let lone = format!("invalid repository name ({digits}), cannot specify 64-byte hexadecimal strings");
        assert_eq!(why(&digits), lone);
        assert_eq!(why(&format!("nginx@sha256:{}", &digits[..32])), "invalid checksum digest length");
        assert_eq!(why(&format!("nginx@sha256:{}", digits.to_uppercase())), "invalid checksum digest format");
        assert_eq!(why(&format!("nginx@md5:{}", &digits[..32])), "unsupported digest algorithm");
    }
}

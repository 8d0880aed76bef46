//! What names, labels and ports may look like. Every function returns the problems, in upstream's
//! words.

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_NAME: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";

fn is_lower(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    let b = text.as_bytes();
    !b.is_empty() && b.iter().all(|&c| is_lower(c) || c == b'-') && is_lower(b[0]) && is_lower(b[b.len() - 1])
}

fn is_name_part(text: &str) -> bool {
    let b = text.as_bytes();
    !b.is_empty()
        && b.iter().all(|&c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
        && b[0].is_ascii_alphanumeric()
        && b[b.len() - 1].is_ascii_alphanumeric()
}

/// Returns the problem of a text of more than `most` bytes. Upstream says `characters` of names and
/// `bytes` of labels (`MaxLenError` of `util/validation` and of `api/validate/content`).
fn too_long(text: &str, most: usize, unit: &str) -> Option<String> {
    (text.len() > most).then(|| format!("must be no more than {most} {unit}"))
}

fn is_subdomain(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(is_label)
}

/// Checks a name like that of most objects: `my-name.example.com`, at most 253 bytes.
pub fn dns_subdomain(text: &str) -> Vec<String> {
    subdomain(text, "characters")
}

/// As [`dns_subdomain`]. A text that is too long has too many of this `unit`.
fn subdomain(text: &str, unit: &str) -> Vec<String> {
    let form = (!is_subdomain(text)).then(|| SUBDOMAIN.to_string());
    too_long(text, 253, unit).into_iter().chain(form).collect()
}

/// Checks a name like that of a namespace, container or volume: `my-name`, at most 63 bytes.
pub fn dns_label(text: &str) -> Vec<String> {
    let mut problems: Vec<String> = too_long(text, 63, "characters").into_iter().collect();
    if !is_label(text) {
        // The name of a subdomain is right but for its dots.
        problems.push(if is_subdomain(text) { "must not contain dots" } else { LABEL }.to_string());
    }
    problems
}

/// As [`dns_label`], for names that start with a letter: those of Services.
pub(crate) fn dns_1035(text: &str) -> Vec<String> {
    let mut problems: Vec<String> = too_long(text, 63, "characters").into_iter().collect();
    if !is_label(text) || !text.as_bytes()[0].is_ascii_lowercase() {
        problems.push(LABEL_1035.to_string());
    }
    problems
}

/// Checks a name that need only be a segment of a path: those of RBAC.
pub(crate) fn path_segment(text: &str) -> Vec<String> {
    match text {
        "." | ".." => return vec![format!("may not be '{text}'")],
        _ => {}
    }
    ["/", "%"].iter().filter(|c| text.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// Checks the key of a label or annotation: `[prefix/]name`.
pub fn qualified_name(text: &str) -> Vec<String> {
    let (prefix, name) = match text.split_once('/') {
        Some((_, rest)) if rest.contains('/') => {
            return vec![format!(
                "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let mut problems = Vec::new();
    match prefix {
        Some("") => problems.push("prefix part must be non-empty".to_string()),
        Some(prefix) => {
            problems.extend(subdomain(prefix, "bytes").into_iter().map(|p| format!("prefix part {p}")))
        }
        None => {}
    }
    if name.is_empty() {
        problems.push("name part must be non-empty".to_string());
    } else if name.len() > 63 {
        problems.push("name part must be no more than 63 bytes".to_string());
    }
    if !is_name_part(name) {
        problems.push(NAME_PART.to_string());
    }
    problems
}

/// Returns what is wrong with a label's value. It may have 63 bytes, and is empty or of the form of
/// a name: `[A-Za-z0-9]`, with `-_.` inside.
pub fn label_value(text: &str) -> Vec<String> {
    let mut problems: Vec<String> = too_long(text, 63, "bytes").into_iter().collect();
    if !text.is_empty() && !is_name_part(text) {
        problems.push(LABEL_VALUE.to_string());
    }
    problems
}

/// Returns what is wrong with a key of a ConfigMap or Secret.
pub fn config_key(text: &str) -> Vec<String> {
    let mut problems: Vec<String> = too_long(text, 253, "characters").into_iter().collect();
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c)) {
        problems.push(CONFIG_KEY.to_string());
    }
    match text {
        "." => problems.push("must not be '.'".to_string()),
        ".." => problems.push("must not be '..'".to_string()),
        _ if text.starts_with("..") => problems.push("must not start with '..'".to_string()),
        _ => {}
    }
    problems
}

/// Checks an environment variable's name (relaxed as since 1.34).
pub(crate) fn env_name(text: &str) -> Vec<String> {
    let ok = !text.is_empty() && text.bytes().all(|c| (0x20..0x7f).contains(&c) && c != b'=');
    if ok { vec![] } else { vec![ENV_NAME.to_string()] }
}

/// Checks a port's name: `http`, at most 15 characters.
pub fn port_name(text: &str) -> Vec<String> {
    let b = text.as_bytes();
    let mut problems: Vec<String> = too_long(text, 15, "characters").into_iter().collect();
    if b.is_empty() || !b.iter().all(|&c| is_lower(c) || c == b'-') {
        problems.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_string());
    }
    if !b.iter().any(u8::is_ascii_lowercase) {
        problems.push("must contain at least one letter (a-z)".to_string());
    }
    if text.contains("--") {
        problems.push("must not contain consecutive hyphens".to_string());
    }
    if text.starts_with('-') || text.ends_with('-') {
        problems.push("must not begin or end with a hyphen".to_string());
    }
    problems
}

/// Returns the problem of a port number; none for 1 to 65535.
pub(crate) fn port_number(port: i64) -> Option<&'static str> {
    if (1..=65535).contains(&port) { None } else { Some("must be between 1 and 65535, inclusive") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_people_try() {
        assert!(dns_subdomain("my-app.v1").is_empty());
        assert_eq!(dns_subdomain("My_App"), [SUBDOMAIN]);
        assert_eq!(dns_subdomain("a..b"), [SUBDOMAIN]);
        assert!(dns_1035("1abc").contains(&LABEL_1035.to_string()));
        assert!(dns_label("1abc").is_empty());
        assert!(qualified_name("app.kubernetes.io/name").is_empty());
        assert_eq!(qualified_name("a/b/c").len(), 1);
        assert_eq!(qualified_name("/x"), ["prefix part must be non-empty"]);
        assert_eq!(label_value("-x").len(), 1);
        assert!(label_value("").is_empty());
        assert_eq!(port_name("123"), ["must contain at least one letter (a-z)"]);
        assert!(config_key(".dockerconfigjson").is_empty());
        assert!(!config_key("a b").is_empty());
    }

    #[test]
    fn a_label_with_dots_is_told_of_its_dots() {
        assert_eq!(dns_label("my.app"), ["must not contain dots"]);
        assert_eq!(dns_label("My.app"), [LABEL]);
        assert_eq!(dns_label("a..b"), [LABEL]);
        assert_eq!(dns_1035("my.app"), [LABEL_1035], "upstream has no such words for Services");
    }

    /// As `MaxLenError` of the two packages says it.
    #[test]
    fn the_length_of_names_is_told_in_characters_and_of_labels_in_bytes() {
        let long = "a".repeat(254);
        let errors_of = |most: usize, unit: &str| vec![format!("must be no more than {most} {unit}")];
        for (found, most, unit) in [
            (dns_subdomain(&long), 253, "characters"),
            (dns_label(&long), 63, "characters"),
            (dns_1035(&long), 63, "characters"),
            (config_key(&long), 253, "characters"),
            (port_name(&long), 15, "characters"),
            (label_value(&long), 63, "bytes"),
        ] {
            assert_eq!(found, errors_of(most, unit));
        }
        let prefix = qualified_name(&format!("{long}/a"));
        assert_eq!(prefix, ["prefix part must be no more than 253 bytes"]);
        assert_eq!(qualified_name(&long), ["name part must be no more than 63 bytes"]);
    }

    #[test]
    fn all_problems_of_a_ports_name_are_told() {
        let letters = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
        let one = "must contain at least one letter (a-z)";
        assert_eq!(port_name("HTTP"), [letters, one]);
        assert_eq!(port_name(""), [letters, one]);
        assert_eq!(port_name("Web-"), [letters, "must not begin or end with a hyphen"]);
    }
}

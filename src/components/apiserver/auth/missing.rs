//! Rights that a user lacks, as the refusal of an escalation shows them.

use crate::auth::attributes::Attributes;
use crate::auth::user::User;
use api::gostr::quote;
use api::path::cut;
use std::collections::BTreeMap;

/// Lines that a refusal shows.
const SHOWN_MAX: usize = 10;
/// Bytes of one line of a refusal, and of the user's groups in it.
const SHOWN_BYTES: usize = 512;

/// The subject of one line of a refusal; lines are in this order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum About<'a> {
    /// A resource as a rule writes it, and the name of an object if the rule names some.
    Resource {
        group: &'a str,
        resource: String,
        is_for_every_name: bool,
        name: &'a str,
    },
    Path {
        path: &'a str,
        verb: &'a str,
    },
}

impl About<'_> {
    /// Writes a line of the refusal: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`
    /// (upstream: `CompactString`).
    fn line(&self, verbs: &[&str]) -> String {
        let mut parts = match self {
            About::Resource { group, resource, .. } => {
                vec![part("APIGroups", &[*group]), part("Resources", &[resource.as_str()])]
            }
            About::Path { path, .. } => vec![part("NonResourceURLs", &[*path])],
        };
        if let About::Resource { is_for_every_name: false, name, .. } = self {
            parts.push(part("ResourceNames", &[*name]));
        }
        parts.push(part("Verbs", verbs));
        format!("{{{}}}", parts.join(", "))
    }
}

/// Writes a part of a line: `Resources:["pods"]`.
fn part(name: &str, words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    format!("{name}:[{}]", words.join(" "))
}

/// Rights that a user lacks, with the verbs of each line of the refusal (upstream: `CompactRules`).
///
/// Example: a rule gives get, list and delete on pods and secrets, and its writer may get and list
/// pods. The lines are `delete` for pods; `get`, `list` and `delete` for secrets.
#[derive(Default)]
pub(super) struct Missing<'a>(BTreeMap<About<'a>, Vec<&'a str>>);

impl<'a> Missing<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, wanted: &Attributes<'a>, is_for_every_name: bool) {
        let Attributes { verb, group, name, path, .. } = *wanted;
        let about = match wanted.is_resource {
            true => About::Resource { group, resource: wanted.full_resource(), is_for_every_name, name },
            false => About::Path { path, verb },
        };
        let verbs = self.0.entry(about).or_default();
        if wanted.is_resource || verbs.is_empty() {
            verbs.push(verb);
        }
    }

    /// Writes upstream's message: the user, and the lines up to [`SHOWN_MAX`].
    pub(super) fn refusal(&self, user: &User) -> String {
        let lines = self.0.iter().take(SHOWN_MAX);
        let mut lines: Vec<String> =
            lines.map(|(about, verbs)| cut(about.line(verbs), SHOWN_BYTES)).collect();
        if self.0.len() > SHOWN_MAX {
            lines.push(format!("and {} more", self.0.len() - SHOWN_MAX));
        }
        let groups: Vec<String> = user.groups.iter().map(|group| quote(group)).collect();
        format!(
            "user {} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
            quote(&user.name),
            cut(groups.join(" "), SHOWN_BYTES),
            lines.join("\n")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_bounded_and_quotes_as_go_does() {
        let rights: Vec<String> = (10..10 + SHOWN_MAX + 2).map(|n| format!("r{n}")).collect();
        let mut missing = Missing::default();
        for resource in &rights {
            missing.add(&Attributes { verb: "get", resource, ..Attributes::RESOURCE }, true);
        }
        let refusal = missing.refusal(&User { name: "a\u{200b}".into(), ..User::new("", &["g"]) });
        let lines: Vec<&str> = refusal.lines().collect();
        let head = r#"user "a\u200b" (groups=["g" "system:authenticated"]) is attempting to grant"#;
        assert!(lines[0].starts_with(head), "{refusal}");
        assert_eq!(lines[1], r#"{APIGroups:[""], Resources:["r10"], Verbs:["get"]}"#);
        assert_eq!((lines.len(), lines[SHOWN_MAX + 1]), (SHOWN_MAX + 2, "and 2 more"));
        let long = "x".repeat(2 * SHOWN_BYTES);
        let mut missing = Missing::default();
        missing.add(&Attributes::of_path(&long, "/a"), true);
        let refusal = missing.refusal(&User::new("bob", &[long.as_str()]));
        assert!(refusal.len() < 3 * SHOWN_BYTES, "{} bytes", refusal.len());
    }
}

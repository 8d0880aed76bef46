//! Rights that a user lacks, as the refusal of an escalation shows them.

use crate::auth::attributes::Attributes;
use crate::auth::user::User;
use api::path::cut;
use std::collections::BTreeMap;

/// Lines that a refusal shows, and bytes of each of them and of the user's groups.
const SHOWN_MAX: usize = 10;
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
    /// A line of the refusal: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}` (upstream:
    /// `CompactString`).
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

/// `Resources:["pods"]`
fn part(name: &str, words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
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

    /// Upstream's message.
    pub(super) fn refusal(&self, user: &User) -> String {
        let lines = self.0.iter().take(SHOWN_MAX);
        let mut lines: Vec<String> =
            lines.map(|(about, verbs)| cut(about.line(verbs), SHOWN_BYTES)).collect();
        if self.0.len() > SHOWN_MAX {
            lines.push(format!("and {} more", self.0.len() - SHOWN_MAX));
        }
        let groups: Vec<String> = user.groups.iter().map(|g| format!("{g:?}")).collect();
        format!(
            "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            cut(groups.join(" "), SHOWN_BYTES),
            lines.join("\n")
        )
    }
}

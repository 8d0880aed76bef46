//! The one table of verbs and flags. Parsing, help, completion and dispatch derive from it.
//!
//! It is a text, `kubectl.txt`: verbs, their usage lines and their flags are data, and many verbs
//! share flags. `text.rs` reads it when the table is first used; `functions.rs` has the function of
//! each verb.

mod functions;
#[cfg(test)]
mod reads;
#[cfg(test)]
mod tests;
mod text;
mod verb;

pub use verb::Verb;

use crate::flag::Flag;
use functions::FUNCTIONS;
use std::sync::LazyLock;
use text::Table;

/// The text of the table; its opening comment says what it looks like.
const TEXT: &str = include_str!("kubectl.txt");

static TABLE: LazyLock<Table> =
    LazyLock::new(|| text::read(TEXT, FUNCTIONS).unwrap_or_else(|why| Table::unreadable(&why)));

impl Verb {
    /// The verbs one word longer than this one.
    pub fn children(&self) -> impl Iterator<Item = &'static Verb> {
        let path = self.path;
        all().iter().filter(move |v| {
            !v.path.is_empty() && v.path.rsplit_once(' ').map_or("", |(parent, _)| parent) == path
        })
    }

    /// The verbs below this one that help lists.
    pub fn listed(&self) -> impl Iterator<Item = &'static Verb> {
        self.children().filter(|v| !["help", "options"].contains(&v.path))
    }

    /// The verb one word longer than this one, by that word or one of its aliases.
    pub fn child(&self, word: &str) -> Option<&'static Verb> {
        self.children().find(|v| v.name() == word || v.aliases.contains(&word))
    }

    /// A flag of this verb or a global one. A verb's own flag hides the global one of that name.
    /// `_` is as good as `-`: `--all_namespaces`. (`WordSepNormalizeFunc` of component-base.)
    pub fn flag(&self, name: &str) -> Option<&'static Flag> {
        let name = name.replace('_', "-");
        self.all_flags().find(|f| f.name == name)
    }

    /// A flag by its letter: of this verb, or a global one.
    pub fn short_flag(&self, letter: char) -> Option<&'static Flag> {
        self.all_flags().find(|f| f.short.starts_with(letter))
    }

    /// The verb's own flags, then the global ones.
    pub(crate) fn all_flags(&self) -> impl Iterator<Item = &'static Flag> {
        let own: &'static [Flag] = self.flags;
        own.iter().chain(global())
    }
}

/// Flags of kubectl that are not implemented here: every value but the default is refused.
pub(crate) const REFUSED: &[&str] = &[
    "append-server-path",
    "as-current-user",
    "auth-provider-arg",
    "helm-api-versions",
    "helm-command",
    "helm-debug",
    "helm-kube-version",
    "load-restrictor",
    "match-server-version",
    "mount",
    "network",
    "network-name",
    "resolve",
    "server-print",
];

/// Flags that change the speed of kubectl or its log and never an answer, so that none of the code
/// reads them.
#[cfg(test)]
const WITHOUT_EFFECT: &[&str] = &[
    "cache-dir",
    "cached",
    "concurrency",
    "disable-compression",
    "keepalive",
    "log-flush-frequency",
    "openapi-patch",
    "profile-output",
    "use-protocol-buffers",
    "v",
    "vmodule",
];

/// Every verb; the first is `kubectl` itself.
pub fn all() -> &'static [Verb] {
    &TABLE.verbs
}

/// The verb of this path; `kubectl` itself if there is none.
pub(crate) fn named(path: &str) -> &'static Verb {
    all().iter().find(|verb| verb.path == path).unwrap_or_else(root)
}

/// Flags that every verb takes.
pub(crate) fn global() -> &'static [Flag] {
    &TABLE.global
}

/// `kubectl` itself.
pub fn root() -> &'static Verb {
    &all()[0]
}

//! The one table of verbs and flags. Parsing, help, completion and dispatch derive from it.

pub mod flags;
#[cfg(test)]
mod reads;
mod verbs;

use crate::ctx::{Ctx, command_path};
use crate::error::Fail;
use crate::flag::Flag;
use futures::future::BoxFuture;

/// What runs a verb.
pub type Run = for<'a> fn(&'a Ctx) -> BoxFuture<'a, Result<(), Fail>>;

/// One verb, e.g. `rollout status`.
pub struct Verb {
    /// Words after `kubectl`, separated by a space.
    pub path: &'static str,
    /// Other names of the last word.
    pub aliases: &'static [&'static str],
    pub short: &'static str,
    /// The usage line without `kubectl `.
    pub usage: &'static str,
    pub flags: &'static [Flag],
    /// Flags that must be given.
    pub required: &'static [&'static str],
    pub run: Run,
}

impl Verb {
    /// The last word.
    pub fn name(&self) -> &'static str {
        self.path.rsplit(' ').next().unwrap_or("")
    }

    /// `kubectl rollout status`
    pub fn command_path(&self) -> String {
        command_path(self.path)
    }

    /// The verbs one word longer than this one.
    pub fn children(&self) -> impl Iterator<Item = &'static Verb> {
        let path = self.path;
        all().iter().filter(move |v| {
            !v.path.is_empty() && v.path.rsplit_once(' ').map_or("", |(parent, _)| parent) == path
        })
    }

    /// Those that kubectl names where it lists its commands.
    pub fn listed(&self) -> impl Iterator<Item = &'static Verb> {
        self.children().filter(|v| !["help", "options"].contains(&v.path))
    }

    /// The verb one word longer than this one, by that word or one of its aliases.
    pub fn child(&self, word: &str) -> Option<&'static Verb> {
        self.children().find(|v| v.name() == word || v.aliases.contains(&word))
    }

    /// A flag of this verb or a global one.
    pub fn flag(&self, name: &str) -> Option<&'static Flag> {
        // A verb's own flag hides the global one of that name.
        let own: Option<&'static Flag> = self.all_flags().find(|f| f.name == name);
        own
    }

    /// A flag by its letter: of this verb, or a global one.
    pub fn short_flag(&self, letter: char) -> Option<&'static Flag> {
        self.all_flags().find(|f| f.short.starts_with(letter))
    }

    /// Its own flags, then the global ones.
    pub(crate) fn all_flags(&self) -> impl Iterator<Item = &'static Flag> {
        let own: &'static [Flag] = self.flags;
        own.iter().chain(verbs::GLOBAL.iter())
    }
}

/// Flags that are kubectl's and not carried out here: refused unless they say what is so anyway.
pub const REFUSED: &[&str] = &[
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
    verbs::TREE
}

/// The verb of this path; `kubectl` itself if there is none.
pub(crate) fn named(path: &str) -> &'static Verb {
    all().iter().find(|verb| verb.path == path).unwrap_or_else(root)
}

/// Flags that every verb takes.
pub fn global() -> &'static [Flag] {
    verbs::GLOBAL
}

/// `kubectl` itself.
pub fn root() -> &'static Verb {
    &verbs::TREE[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flags that kubectl takes and that change nothing, there as here: its code sets itself what
    /// they would say (`run.go`, `apply.go`, `replace.go`), or they only divide large answers.
    const IDLE: &[(&str, &str)] = &[
        ("run", "filename"),
        ("run", "force"),
        ("run", "grace-period"),
        ("run", "kustomize"),
        ("run", "recursive"),
        ("run", "timeout"),
        ("run", "wait"),
        ("drain", "chunk-size"),
        ("describe", "chunk-size"),
        ("events", "chunk-size"),
        ("apply", "wait"),
        ("replace", "wait"),
    ];

    #[test]
    fn every_flag_is_read_or_refused() {
        let code = reads::Code::of_room();
        let readers = code.readers();
        let known = |flag: &Flag| REFUSED.contains(&flag.name) || WITHOUT_EFFECT.contains(&flag.name);
        let mut idle = vec![];
        for verb in all().iter().filter(|verb| !verb.path.is_empty()) {
            let text = &readers[verb.path];
            let read = |flag: &Flag| text.contains(&format!("\"{}\"", flag.name));
            let unread = verb.flags.iter().filter(|flag| !known(flag) && !read(flag));
            idle.extend(unread.map(|flag| (verb.path, flag.name)));
        }
        assert_eq!(idle, IDLE, "the code behind a verb does not read a flag of it, or does by now");
        // What every verb takes is read where the server and the user are found.
        let all = code.everything();
        for flag in global().iter().filter(|flag| !known(flag)) {
            assert!(all.contains(&format!("\"{}\"", flag.name)), "no code reads --{}", flag.name);
        }
    }

    #[tokio::test]
    async fn a_refused_flag_is_named() {
        let server = crate::testing::Server::start().await;
        let said = server.kubectl(&["get", "cm", "--server-print=false"]).await;
        assert!(said.code == 1 && said.err.contains("--server-print is not implemented"), "{said:?}");
        let said = server.kubectl(&["get", "cm", "--server-print=true", "-o", "name"]).await;
        assert_eq!(said.code, 0, "{said:?}");
    }

    #[tokio::test]
    async fn a_flag_that_a_verb_cannot_obey_is_refused() {
        let server = crate::testing::Server::start().await;
        for (words, why) in [
            (vec!["kustomize", ".", "-e", "A=1"], "--env is not implemented in ropewalk's built-in kubectl"),
            (vec!["wait", "--local", "--for=delete", "cm/a"], "--local cannot be used with wait"),
            (vec!["config", "view", "--merge=false"], "if merge==false a precise file must be specified"),
            (
                vec!["exec", "p", "--pod-running-timeout=0s", "--", "x"],
                "--pod-running-timeout must be higher",
            ),
            (vec!["attach", "p", "--pod-running-timeout=0s"], "--pod-running-timeout must be higher"),
            (
                vec!["port-forward", "p", "80", "--pod-running-timeout=0s"],
                "--pod-running-timeout must be higher",
            ),
            (
                vec!["cluster-info", "dump", "--pod-running-timeout=0s"],
                "--pod-running-timeout must be higher",
            ),
        ] {
            let said = server.kubectl(&words).await;
            assert!(said.code == 1 && said.err.contains(why), "{words:?}: {said:?}");
        }
        assert!(server.asked().is_empty());
    }
}

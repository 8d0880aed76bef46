//! The one table of verbs and flags. Parsing, help, completion and dispatch derive from it.

pub mod flags;
mod verbs;

use crate::kubectl::ctx::Ctx;
use crate::kubectl::error::Fail;
use futures::future::BoxFuture;

/// What a flag's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int,
    /// A number of 32 bits.
    Int32,
    /// `5s`, `2m`, `1h30m`
    Duration,
    Text,
    /// May be repeated; commas separate values too.
    List,
    /// May be repeated; a comma is a part of the value.
    Array,
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    pub name: &'static str,
    /// One letter, or nothing.
    pub short: &'static str,
    pub kind: Kind,
    pub default: &'static str,
    /// The value of the flag alone (`--dry-run`); empty: it needs an argument.
    pub alone: &'static str,
    pub help: &'static str,
}

pub(super) const fn flag(
    name: &'static str,
    short: &'static str,
    kind: Kind,
    default: &'static str,
    alone: &'static str,
    help: &'static str,
) -> Flag {
    Flag { name, short, kind, default, alone, help }
}

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
        format!("kubectl {}", self.path).trim_end().to_string()
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

    pub fn child(&self, word: &str) -> Option<&'static Verb> {
        self.children().find(|v| v.name() == word || v.aliases.contains(&word))
    }

    /// A flag of this verb or a global one.
    pub fn flag(&self, name: &str) -> Option<&'static Flag> {
        // A verb's own flag hides the global one of that name.
        let own: Option<&'static Flag> = self.all_flags().find(|f| f.name == name);
        own
    }

    pub fn short_flag(&self, letter: char) -> Option<&'static Flag> {
        self.all_flags().find(|f| f.short.starts_with(letter))
    }

    /// Its own flags, then the global ones.
    pub fn all_flags(&self) -> impl Iterator<Item = &'static Flag> {
        let own: &'static [Flag] = self.flags;
        own.iter().chain(verbs::GLOBAL.iter())
    }
}

/// Every verb; the first is `kubectl` itself.
pub fn all() -> &'static [Verb] {
    verbs::TREE
}

/// Flags that every verb takes.
pub fn global() -> &'static [Flag] {
    verbs::GLOBAL
}

/// `kubectl` itself.
pub fn root() -> &'static Verb {
    &verbs::TREE[0]
}

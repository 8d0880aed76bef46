//! Names of kinds that come and go. The table's names are part of the program; those of
//! CustomResourceDefinitions are kept once each, for as long as the program runs, so that every
//! reader of an entry sees the same one. What stays behind when a definition goes are its names
//! (group, versions, plural, kind, short names, categories) and the paths of its `/scale`. Each has
//! at most some 400 bytes: definitions with longer ones are refused, and so are longer names in
//! their status, from which the served names come.

use parking_lot::Mutex;
use std::collections::BTreeSet;

static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
static LISTS: Mutex<BTreeSet<&'static [&'static str]>> = Mutex::new(BTreeSet::new());

/// Returns the one copy of a name, which is never freed.
pub fn intern(name: &str) -> &'static str {
    let mut names = NAMES.lock();
    if let Some(known) = names.get(name) {
        return known;
    }
    let kept: &'static str = String::leak(name.to_string());
    names.insert(kept);
    kept
}

/// Returns the one copy of a list of names, which is never freed.
pub fn intern_all<'a>(all: impl IntoIterator<Item = &'a str>) -> &'static [&'static str] {
    let all: Vec<&'static str> = all.into_iter().map(intern).collect();
    let mut lists = LISTS.lock();
    if let Some(known) = lists.get(all.as_slice()) {
        return known;
    }
    let kept: &'static [&'static str] = Vec::leak(all);
    lists.insert(kept);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once() {
        assert!(std::ptr::eq(intern(&format!("cron{}", "tabs")), intern("crontabs")));
        assert!(std::ptr::eq(intern_all(["a", "b"]), intern_all(["a", "b"])));
    }
}

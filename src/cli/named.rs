//! Lessons, labs, tasks and clusters that a command line names.

use super::paths::quote;
use super::words::Word;
use ::lab::format::Declared;
use lang::Lang;
use lang::charset::println;
use std::collections::BTreeSet;
use std::path::Path;

/// What `--name` is where it is not given.
pub(crate) const MAIN: &str = "main";

/// Returns the option with which a command names this cluster; empty for the usual one.
pub(crate) fn option(name: &str) -> String {
    if name == MAIN { String::new() } else { format!("--name {name}") }
}

/// Returns the option with which a command names the cluster behind a kubeconfig.
pub(crate) fn of_file(kubeconfig: &Path) -> String {
    format!("--kubeconfig {}", quote(kubeconfig))
}

/// Leaves each item once, at its first place. `id` tells two items apart.
///
/// A proof counts what it has played by the id, so an item that is named twice would be judged
/// before all of it was played. A script that takes the ids from a list of changed files names a
/// lesson once for each language.
pub(crate) fn once<T>(mut items: Vec<T>, id: impl Fn(&T) -> &str) -> Vec<T> {
    let mut seen = BTreeSet::new();
    items.retain(|item| seen.insert(id(item).to_string()));
    items
}

/// Prints what `lab test --dry-run` or `lesson test --dry-run` found: which of the chosen items
/// need a cluster of their own, and how many were read. `chosen`: the id of each, and the cluster
/// that it declares. `counts`: the sentence about the items that were read, and its two numbers,
/// items and faults.
pub(crate) fn list_chosen<'a>(
    chosen: impl Iterator<Item = (&'a str, Option<&'a Declared>)>,
    counts: (Word, [usize; 2]),
    lang: Lang,
) {
    for (id, declared) in chosen {
        if let Some(declared) = declared {
            println!("{}", lang.say(Word::ProvedApart, &[id, &declared.to_string()]));
        }
    }
    let (word, numbers) = (counts.0, counts.1.map(|count| count.to_string()));
    println!("{}", lang.say(word, &numbers.each_ref().map(String::as_str)));
}

#[cfg(test)]
mod tests {
    use crate::{lab, lesson};
    use ::lab::format::Library;
    use ::lab::graded::read::Labs;
    use lang::Lang;

    #[test]
    fn what_is_named_twice_is_proved_once() {
        let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        let named = words("first-voyage/04 04 first-voyage/05 04-pods");
        let lessons =
            lesson::prove::chosen(&Library::built_in(), None, false, &named, false, Lang::En).unwrap();
        let ids: Vec<&str> = lessons.iter().map(|lesson| lesson.id.as_str()).collect();
        assert_eq!(ids, ["first-voyage/04", "first-voyage/05"]);
        let named = words("broken-selector wrong-port broken-selector");
        let labs = lab::prove::chosen(&Labs::built_in(), &named, false, Lang::En).unwrap();
        let ids: Vec<&str> = labs.iter().map(|lab| lab.id.as_str()).collect();
        assert_eq!(ids, ["broken-selector", "wrong-port"]);
        assert_eq!(super::once(words("logs exec logs"), |id| id.as_str()), ["logs", "exec"]);
    }
}

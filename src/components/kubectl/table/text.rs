//! Reads the text of the table, `kubectl.txt`, whose opening comment says what it looks like.
//!
//! Every mistake in the text is an error that names its line. What nothing refers to is a mistake,
//! too: a shared flag or a group that no section takes, a function whose verb is missing.

use super::verb::{Run, Verb};
use crate::error::Fail;
use crate::flag::{Flag, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// Columns before an entry of a section.
const ENTRY: usize = 4;
/// Columns before a line that continues an entry.
const BELOW: usize = 8;

/// Flags by their words, e.g. `--output`: in the order in which help lists them.
type ByWord = BTreeMap<&'static str, Flag>;

/// The verbs and flags that were read from the text.
pub(super) struct Table {
    /// `kubectl` itself is the first. A verb stands behind the one that holds it.
    pub(super) verbs: Vec<Verb>,
    /// Flags that every verb takes, by name.
    pub(super) global: Vec<Flag>,
}

impl Table {
    /// A table of `kubectl` alone, whose help says why the text cannot be read. The text is a part
    /// of the program and a test reads it, so no tested build gets here.
    pub(super) fn unreadable(why: &str) -> Table {
        let short = kept(format!("The table of verbs (kubectl.txt) cannot be read: {why}"));
        let kubectl = Verb {
            path: "",
            aliases: &[],
            short,
            usage: "",
            flags: &[],
            required: &[],
            run: |_| Box::pin(std::future::ready(Err::<(), Fail>(Fail::Text(UNREADABLE.into())))),
        };
        Table { verbs: vec![kubectl], global: vec![] }
    }
}

/// The error of every command if the text cannot be read.
const UNREADABLE: &str = "the table of verbs cannot be read; kubectl --help says why";

/// Reads the text. `functions` has the function of each verb, by its path.
///
/// The strings and lists of a table are never freed, so read a text once.
///
/// # Errors
/// The first mistake, with its line if it has one: `line 12: no kind of flag is called "number"`.
pub(super) fn read(text: &'static str, functions: &[(&'static str, Run)]) -> Result<Table, String> {
    let mut reading = Reading { functions: functions.iter().copied().collect(), ..Reading::default() };
    for section in sections(text)? {
        reading.section(section)?;
    }
    reading.end()
}

/// An entry of a section.
struct Entry {
    /// The number of its first line, from 1.
    line: usize,
    head: &'static str,
    /// The lines below the entry that continue it, joined by spaces.
    below: String,
}

impl Entry {
    /// The first word of the entry, and its other words over all lines.
    fn pair(self) -> (&'static str, &'static str) {
        let (key, value) = self.head.split_once(' ').unwrap_or((self.head, ""));
        match self.below.is_empty() {
            true => (key, value),
            false => (key, kept(format!("{value} {}", self.below)).trim_start()),
        }
    }
}

struct Section {
    /// The number of its first line, from 1.
    line: usize,
    head: &'static str,
    entries: Vec<Entry>,
}

/// Cuts the text into sections, and those into entries.
fn sections(text: &'static str) -> Result<Vec<Section>, String> {
    let mut found: Vec<Section> = vec![];
    for (at, whole) in text.lines().enumerate() {
        let (line, head) = (at + 1, whole.trim());
        let inset = whole.len() - whole.trim_start().len();
        if head.is_empty() || head.starts_with('#') {
            continue;
        }
        if inset == 0 {
            found.push(Section { line, head, entries: vec![] });
            continue;
        }
        let Some(section) = found.last_mut() else {
            return Err(fault(line, "no section begins above this line"));
        };
        match (inset, section.entries.last_mut()) {
            (ENTRY, _) => section.entries.push(Entry { line, head, below: String::new() }),
            (BELOW, Some(entry)) => {
                if !entry.below.is_empty() {
                    entry.below.push(' ');
                }
                entry.below.push_str(head);
            }
            _ => return Err(fault(line, "indent an entry by 4 columns and what continues it by 8")),
        }
    }
    Ok(found)
}

/// The parts of a section, by the kind of entry.
#[derive(Default)]
struct Body {
    aliases: Vec<&'static str>,
    short: &'static str,
    usage: &'static str,
    required: Vec<&'static str>,
    flags: ByWord,
}

/// The state of the reader: everything that has been read so far.
#[derive(Default)]
struct Reading {
    shared: ByWord,
    groups: BTreeMap<&'static str, ByWord>,
    /// Shared flags and groups that no section has taken.
    idle: BTreeSet<&'static str>,
    global: ByWord,
    verbs: Vec<Verb>,
    /// Functions of the verbs that are still to come.
    functions: BTreeMap<&'static str, Run>,
}

impl Reading {
    fn section(&mut self, section: Section) -> Result<(), String> {
        let line = section.line;
        match section.head.split_once(' ').unwrap_or((section.head, "")) {
            ("flags", "") => {
                for (word, flag) in self.body(section.entries, &[])?.flags {
                    if self.shared.insert(word, flag).is_some() {
                        return Err(fault(line, format!("{word} is shared already")));
                    }
                    self.idle.insert(word);
                }
            }
            ("group", name) if !name.is_empty() => {
                let flags = self.body(section.entries, &["takes"])?.flags;
                if self.groups.insert(name, flags).is_some() {
                    return Err(fault(line, format!("there is a group {name:?} already")));
                }
                self.idle.insert(name);
            }
            ("global", "") => {
                let flags = self.body(section.entries, &["takes"])?.flags;
                self.global.extend(flags);
            }
            ("verb", path) => self.verb(line, path, section.entries)?,
            _ => return Err(fault(line, format!("{:?} begins no section", section.head))),
        }
        Ok(())
    }

    /// Reads the entries of a section. Beside flags it may have entries that begin with one of
    /// `keys`.
    fn body(&mut self, entries: Vec<Entry>, keys: &[&str]) -> Result<Body, String> {
        let mut body = Body::default();
        let mut written = BTreeSet::new();
        for entry in entries {
            let line = entry.line;
            if entry.head.starts_with('-') {
                let (word, flag) = self.flag(entry)?;
                if !written.insert(word) {
                    return Err(fault(line, format!("{word} stands here twice")));
                }
                // A flag of the verb's own, or another form of a shared flag that `takes` named.
                body.flags.insert(word, flag);
                continue;
            }
            let (key, value) = entry.pair();
            match key {
                _ if !keys.contains(&key) => {
                    return Err(fault(line, format!("{key:?} has no meaning in this section")));
                }
                "aliases" => body.aliases = value.split_whitespace().collect(),
                "short" => body.short = value,
                "usage" => body.usage = value,
                "required" => body.required = value.split_whitespace().collect(),
                _ => self.take(line, value, &mut body.flags)?,
            }
        }
        Ok(body)
    }

    /// Adds shared flags and the flags of groups.
    fn take(&mut self, line: usize, words: &'static str, flags: &mut ByWord) -> Result<(), String> {
        for word in words.split_whitespace() {
            let one = self.shared.get(word).map(|flag| ByWord::from([(word, *flag)]));
            let Some(found) = one.or_else(|| self.groups.get(word).cloned()) else {
                return Err(fault(line, format!("no shared flag and no group is called {word:?}")));
            };
            self.idle.remove(word);
            for (word, flag) in found {
                if flags.insert(word, flag).is_some() {
                    return Err(fault(line, format!("{word} stands here twice")));
                }
            }
        }
        Ok(())
    }

    /// Reads a flag and the word that names it.
    ///
    /// Example: `-o --output text = json` with a line of help below it is a flag. `--output = yaml`
    /// is the shared flag `--output` with another default, and `--output` with help below it the
    /// shared flag with that help.
    fn flag(&mut self, entry: Entry) -> Result<(&'static str, Flag), String> {
        let line = entry.line;
        let (left, default) = match entry.head.split_once(" = ") {
            Some((left, default)) => (left, Some(default)),
            None => (entry.head, None),
        };
        let words: Vec<&'static str> = left.split_whitespace().collect();
        let (letter, word, kind) = match words.as_slice() {
            [word] => ("", *word, None),
            [word, kind] => ("", *word, Some(*kind)),
            [letter, word, kind] if letter.len() == 2 => (*letter, *word, Some(*kind)),
            _ => return Err(fault(line, FORM)),
        };
        let (word, alone) = match word.strip_suffix(']').and_then(|word| word.split_once("[=")) {
            Some((word, alone)) => (word, Some(alone)),
            None => (word, None),
        };
        let Some(name) = word.strip_prefix("--").filter(|name| !name.is_empty()) else {
            return Err(fault(line, FORM));
        };
        let Some(kind) = kind else {
            if alone.is_some() || default.is_none() && entry.below.is_empty() {
                return Err(fault(line, format!("{word} has no kind")));
            }
            let Some(shared) = self.shared.get(word) else {
                return Err(fault(line, format!("no shared flag is called {word}, so give its kind")));
            };
            self.idle.remove(word);
            let help = if entry.below.is_empty() { shared.help } else { kept(entry.below) };
            return Ok((word, Flag { default: default.unwrap_or(shared.default), help, ..*shared }));
        };
        let Some((kind, zero, usual)) = kind_of(kind) else {
            return Err(fault(line, format!("no kind of flag is called {kind:?}")));
        };
        if entry.below.is_empty() {
            return Err(fault(line, format!("{word} has no help below it")));
        }
        let flag = Flag {
            name,
            short: letter.trim_start_matches('-'),
            kind,
            default: default.unwrap_or(zero),
            alone: alone.unwrap_or(usual),
            help: kept(entry.below),
        };
        Ok((word, flag))
    }

    fn verb(&mut self, line: usize, path: &'static str, entries: Vec<Entry>) -> Result<(), String> {
        let body = self.body(entries, &["aliases", "short", "usage", "required", "takes"])?;
        let is_known = |path: &str| self.verbs.iter().any(|verb| verb.path == path);
        let holder = path.rsplit_once(' ').map_or("", |(holder, _)| holder);
        if is_known(path) {
            return Err(fault(line, format!("there is a verb {path:?} already")));
        }
        if !path.is_empty() && !is_known(holder) {
            return Err(fault(line, format!("the verb {holder:?}, which holds {path:?}, is not above it")));
        }
        if body.short.is_empty() {
            return Err(fault(line, format!("the verb {path:?} has no `short`")));
        }
        if let Some(name) = body.required.iter().find(|name| !body.flags.values().any(|f| f.name == **name)) {
            return Err(fault(line, format!("the verb {path:?} requires --{name} and does not take it")));
        }
        let Some(run) = self.functions.remove(path) else {
            return Err(fault(line, format!("the verb {path:?} has no function")));
        };
        let usage = match (path, body.usage) {
            ("", usage) | (_, usage @ "") => usage,
            (path, usage) => kept(format!("{path} {usage}")),
        };
        self.verbs.push(Verb {
            path,
            aliases: body.aliases.leak(),
            short: body.short,
            usage,
            flags: body.flags.into_values().collect::<Vec<Flag>>().leak(),
            required: body.required.leak(),
            run,
        });
        Ok(())
    }

    /// Returns the table, once everything is read.
    fn end(self) -> Result<Table, String> {
        if let Some(word) = self.idle.first() {
            return Err(format!("no verb takes {word:?}"));
        }
        if let Some((path, _)) = self.functions.first_key_value() {
            return Err(format!("there is a function for {path:?} and no such verb"));
        }
        if self.verbs.is_empty() {
            return Err("there is no verb".into());
        }
        Ok(Table { verbs: self.verbs, global: self.global.into_values().collect() })
    }
}

/// The form of an entry that begins with a dash, for errors.
const FORM: &str = "a flag is written as [-LETTER] --NAME[=ALONE] KIND [= DEFAULT]";

/// A kind by its word, with the default of a flag that names none, and the value of one that stands
/// alone.
fn kind_of(word: &str) -> Option<(Kind, &'static str, &'static str)> {
    Some(match word {
        "bool" => (Kind::Bool, "false", "true"),
        "int" => (Kind::Int, "0", ""),
        "int32" => (Kind::Int32, "0", ""),
        "duration" => (Kind::Duration, "0s", ""),
        "text" => (Kind::Text, "", ""),
        "list" => (Kind::List, "", ""),
        "array" => (Kind::Array, "", ""),
        _ => return None,
    })
}

fn fault(line: usize, what: impl Display) -> String {
    format!("line {line}: {what}")
}

/// Leaks a string: the table lives as long as the program.
fn kept(text: String) -> &'static str {
    text.leak()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctx::Ctx;
    use futures::future::BoxFuture;

    fn nothing(_: &Ctx) -> BoxFuture<'_, Result<(), Fail>> {
        Box::pin(async { Ok(()) })
    }

    /// Reads a text where the verbs of these paths have functions.
    fn with_functions(text: &'static str, paths: &[&'static str]) -> Result<Table, String> {
        let functions: Vec<(&'static str, Run)> = paths.iter().map(|path| (*path, nothing as Run)).collect();
        read(text, &functions)
    }

    /// Name, letter, default, value when it stands alone, and help.
    fn parts(flag: &Flag) -> [&'static str; 5] {
        [flag.name, flag.short, flag.default, flag.alone, flag.help]
    }

    const TEXT: &str = "\
# A remark.
flags
    -o --output text
        Format, of which
        there are many
    --dry-run[=unchanged] text = none
        Whether it is for show

group print
    takes --output

global
    -v --v int
        How much to log

verb
    short kubectl

verb get
    aliases g show
    short Shows
        objects
    usage TYPE  [NAME]
        [options]
    required watch
    takes print --dry-run
    -w --watch bool
        Go on
    --output = yaml
    --dry-run
        Whether nothing is shown
";

    #[test]
    fn verbs_take_shared_flags_and_change_them() {
        let table = with_functions(TEXT, &["get", ""]).unwrap_or_else(|why| panic!("{why}"));
        let global: Vec<_> = table.global.iter().map(parts).collect();
        assert_eq!(global, [["v", "v", "0", "", "How much to log"]]);
        let [kubectl, get] = table.verbs.as_slice() else { panic!("{} verbs", table.verbs.len()) };
        assert_eq!((kubectl.path, kubectl.usage, kubectl.flags.len()), ("", "", 0));
        assert_eq!((get.path, get.short, get.usage), ("get", "Shows objects", "get TYPE  [NAME] [options]"));
        assert_eq!((get.aliases, get.required), (&["g", "show"][..], &["watch"][..]));
        assert_eq!(
            get.flags.iter().map(parts).collect::<Vec<_>>(),
            [
                ["dry-run", "", "none", "unchanged", "Whether nothing is shown"],
                ["output", "o", "yaml", "", "Format, of which there are many"],
                ["watch", "w", "false", "true", "Go on"],
            ]
        );
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        for (text, why) in [
            ("    short x\n", "line 1: no section begins above this line"),
            ("flags\n  --a bool\n", "line 2: indent an entry by 4 columns and what continues it by 8"),
            ("flags\n        Help\n", "line 2: indent an entry by 4 columns and what continues it by 8"),
            ("colours\n", "line 1: \"colours\" begins no section"),
            ("flags\n    a bool\n        Help\n", "line 2: \"a\" has no meaning in this section"),
            (
                "flags\n    -a bool\n        Help\n",
                "line 2: a flag is written as [-LETTER] --NAME[=ALONE] KIND [= DEFAULT]",
            ),
            (
                "flags\n    -ab --a bool\n        Help\n",
                "line 2: a flag is written as [-LETTER] --NAME[=ALONE] KIND [= DEFAULT]",
            ),
            ("flags\n    --a number\n        Help\n", "line 2: no kind of flag is called \"number\""),
            ("flags\n    --a bool\n", "line 2: --a has no help below it"),
            ("flags\n    --a\n", "line 2: --a has no kind"),
            ("flags\n    --a\n        Help\n", "line 2: no shared flag is called --a, so give its kind"),
            ("flags\n    --a = 1\n", "line 2: no shared flag is called --a, so give its kind"),
            ("flags\n    --a int\n        A\n    --a int\n        B\n", "line 4: --a stands here twice"),
            (
                "flags\n    --a int\n        A\nflags\n    --a int\n        B\n",
                "line 4: --a is shared already",
            ),
            (
                "flags\n    --a int\n        A\nverb\n    short k\n    takes --a --a\n",
                "line 6: --a stands here twice",
            ),
            ("verb\n    short k\n    takes --a\n", "line 3: no shared flag and no group is called \"--a\""),
            ("verb\n    takes\n", "line 1: the verb \"\" has no `short`"),
            ("verb get\n    short g\n", "line 1: the verb \"\", which holds \"get\", is not above it"),
            ("verb\n    short k\nverb\n    short k\n", "line 3: there is a verb \"\" already"),
            (
                "verb\n    short k\n    required a\n",
                "line 1: the verb \"\" requires --a and does not take it",
            ),
            ("verb\n    short k\nverb apply\n    short a\n", "line 3: the verb \"apply\" has no function"),
            ("verb\n    short k\n", "there is a function for \"get\" and no such verb"),
            (
                "flags\n    --a int\n        A\nverb\n    short k\nverb get\n    short g\n",
                "no verb takes \"--a\"",
            ),
            ("group g\n    takes\nverb\n    short k\nverb get\n    short g\n", "no verb takes \"g\""),
        ] {
            assert_eq!(with_functions(text, &["", "get"]).err().as_deref(), Some(why), "{text}");
        }
        assert_eq!(with_functions("", &[]).err().as_deref(), Some("there is no verb"));
    }
}

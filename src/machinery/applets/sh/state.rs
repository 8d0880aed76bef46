//! Variables and options.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Variable {
    /// `None`: only declared, by `export NAME` or `readonly NAME`.
    pub value: Option<String>,
    pub exported: bool,
    pub read_only: bool,
}

impl Variable {
    /// Leaves it declared, without a value. A read-only one keeps its value.
    pub(super) fn forget_value(&mut self) {
        if !self.read_only {
            self.value = None;
        }
    }
}

/// What a function's `local` variables hide.
type Hidden = Vec<(String, Option<Variable>)>;

#[derive(Debug, Default)]
pub(super) struct State {
    variables: BTreeMap<String, Variable>,
    /// Variables of the environment that cannot be variables of a shell: a name like `my-name`, a
    /// value that is not UTF-8. Programs get them unchanged, as upstream's images rely on.
    passed_on: Vec<(OsString, OsString)>,
    /// The variables that running functions hide, with one entry for each function.
    hidden: Vec<Hidden>,
    flags: BTreeSet<char>,
    pub pipefail: bool,
}

/// Names of `set -o` and their letters.
const OPTIONS: [(&str, char); 9] = [
    ("allexport", 'a'),
    ("errexit", 'e'),
    ("monitor", 'm'),
    ("noclobber", 'C'),
    ("noexec", 'n'),
    ("noglob", 'f'),
    ("nounset", 'u'),
    ("verbose", 'v'),
    ("xtrace", 'x'),
];

/// Letters that change nothing here: only `jobs` shows that a job has ended (`b`), programs are
/// looked up each time (`h`), and there is no trap on errors that functions could inherit (`E`, of
/// bash).
const WITHOUT_EFFECT: &str = "bhE";

impl State {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).and_then(|v| v.value.as_deref())
    }

    pub(super) fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables.get(name)
    }

    /// `false` if it is read-only.
    #[must_use]
    pub(super) fn set(&mut self, name: &str, value: String) -> bool {
        let export = self.is_flag_set('a');
        let variable = self.variables.entry(name.to_string()).or_default();
        if !variable.read_only {
            variable.value = Some(value);
            variable.exported |= export;
        }
        !variable.read_only
    }

    /// Marks a variable. One that is not set yet keeps the mark for its value.
    pub(super) fn mark_variable(&mut self, name: &str, mark: impl FnOnce(&mut Variable)) {
        mark(self.variables.entry(name.to_string()).or_default());
    }

    /// `false` if it is read-only.
    #[must_use]
    pub(super) fn unset(&mut self, name: &str) -> bool {
        let free = !self.variables.get(name).is_some_and(|v| v.read_only);
        if free {
            self.passed_on.retain(|(known, _)| known != name);
            self.variables.remove(name);
        }
        free
    }

    /// Returns true for a variable of the environment whose name no variable of a shell may have.
    pub(super) fn is_passed_on(&self, name: &str) -> bool {
        self.passed_on.iter().any(|(known, _)| known == name)
    }

    /// Puts back what [`State::variable`] returned earlier.
    pub(super) fn restore(&mut self, name: String, was: Option<Variable>) {
        match was {
            Some(variable) => self.variables.insert(name, variable),
            None => self.variables.remove(&name),
        };
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = (&String, &Variable)> {
        self.variables.iter()
    }

    /// Takes over a variable of the environment: as an exported variable, or as one to pass on.
    pub(super) fn import_variable(&mut self, name: OsString, value: OsString) {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) if is_name(&name) => {
                let variable = Variable { value: Some(value), exported: true, read_only: false };
                self.variables.insert(name, variable);
            }
            (name, value) => {
                let raw = |text: Result<String, OsString>| text.map_or_else(|raw| raw, OsString::from);
                self.passed_on.push((raw(name), raw(value)));
            }
        }
    }

    /// Returns the environment that a program gets. A variable of the shell hides one of its name
    /// that is passed on.
    pub(super) fn environment(&self) -> Vec<(OsString, OsString)> {
        let hidden = |name: &OsString| name.to_str().is_some_and(|name| self.get(name).is_some());
        let passed_on = self.passed_on.iter().filter(|(name, _)| !hidden(name)).cloned();
        let exported = self.variables.iter().filter(|(_, v)| v.exported);
        let exported = exported.filter_map(|(name, v)| Some((name.into(), v.value.clone()?.into())));
        passed_on.chain(exported).collect()
    }

    pub(super) fn is_in_function(&self) -> bool {
        !self.hidden.is_empty()
    }

    pub(super) fn enter_function(&mut self) {
        self.hidden.push(Vec::new());
    }

    pub(super) fn leave_function(&mut self) {
        for (name, was) in self.hidden.pop().unwrap_or_default().into_iter().rev() {
            self.restore(name, was);
        }
    }

    /// Hides a variable (`local`): its present value comes back when the running function ends.
    /// Nothing happens outside of functions. Returns whether the function did not hide it yet.
    pub(super) fn hide_variable(&mut self, name: &str) -> bool {
        let was = self.variables.get(name).cloned();
        let Some(hidden) = self.hidden.last_mut() else { return false };
        let is_new = !hidden.iter().any(|(known, _)| known == name);
        if is_new {
            hidden.push((name.to_string(), was));
        }
        is_new
    }

    pub(super) fn is_flag_set(&self, letter: char) -> bool {
        self.flags.contains(&letter)
    }

    /// `false` if there is no such flag.
    #[must_use]
    pub(super) fn set_flag(&mut self, letter: char, on: bool) -> bool {
        let known = OPTIONS.iter().any(|(_, known)| *known == letter) || WITHOUT_EFFECT.contains(letter);
        match on {
            true if known => drop(self.flags.insert(letter)),
            true => {}
            false => drop(self.flags.remove(&letter)),
        }
        known
    }

    /// Turns `monitor` off. Job control needs `fg` and `bg`, which this shell has not; dash does
    /// the same where it has no terminal.
    ///
    /// Returns true if it was on.
    pub(super) fn refuse_monitor(&mut self) -> bool {
        self.flags.remove(&'m')
    }

    /// `false` if there is no such option.
    #[must_use]
    pub(super) fn set_option(&mut self, name: &str, on: bool) -> bool {
        match OPTIONS.iter().find(|(known, _)| *known == name) {
            Some((_, letter)) => self.set_flag(*letter, on),
            None if name == "pipefail" => {
                self.pipefail = on;
                true
            }
            None => false,
        }
    }

    /// Returns the value of `$-`.
    pub(super) fn flags(&self) -> String {
        self.flags.iter().collect()
    }

    /// Options with names, and whether they are on.
    fn options(&self) -> impl Iterator<Item = (&'static str, bool)> {
        let of_letters = OPTIONS.iter().map(|(name, letter)| (*name, self.is_flag_set(*letter)));
        of_letters.chain([("pipefail", self.pipefail)])
    }

    /// `set -o`: one option a line.
    pub(super) fn describe_options(&self) -> String {
        self.options().map(|(name, on)| format!("{name:<16}{}\n", if on { "on" } else { "off" })).collect()
    }

    /// `set +o`: commands that a shell may run later to have the options of now again.
    pub(super) fn options_as_commands(&self) -> String {
        self.options().map(|(name, on)| format!("set {}o {name}\n", if on { '-' } else { '+' })).collect()
    }
}

/// Returns a word that a shell reads back as `value`.
pub(super) fn quote_word(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}

/// Returns whether a variable may have this name.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
        && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_gives_back_what_it_hid() {
        let mut state = State::default();
        assert!(state.set("a", "outer".into()));
        state.enter_function();
        state.hide_variable("a");
        state.hide_variable("b");
        assert!(state.set("a", "inner".into()) && state.set("b", "inner".into()));
        state.leave_function();
        assert_eq!((state.get("a"), state.get("b")), (Some("outer"), None));
        state.mark_variable("a", |v| v.read_only = true);
        assert!(!state.set("a", "x".into()) && !state.unset("a"));
    }

    #[test]
    fn a_program_gets_what_no_variable_can_hold() {
        use std::os::unix::ffi::OsStringExt;
        let raw = OsString::from_vec(vec![b'v', 0xff]);
        let mut state = State::default();
        for (name, value) in
            [("my-name", "1".into()), ("a.b", "2".into()), ("", "3".into()), ("odd", raw.clone())]
        {
            state.import_variable(name.into(), value);
        }
        state.import_variable("plain".into(), "4".into());
        let has = |state: &State, name: &str, value: &std::ffi::OsStr| {
            state.environment().iter().filter(|(n, _)| n == name).map(|(_, v)| v == value).collect::<Vec<_>>()
        };
        for (name, value) in [("my-name", "1"), ("a.b", "2"), ("", "3"), ("plain", "4")] {
            assert_eq!(has(&state, name, value.as_ref()), [true], "{name}");
        }
        assert_eq!(has(&state, "odd", &raw), [true]);
        assert_eq!((state.get("my-name"), state.get("odd")), (None, None));
        assert!(state.set("odd", "new".into()));
        assert_eq!(has(&state, "odd", &raw), [] as [bool; 0], "it is not exported");
        assert!(state.unset("odd"));
        assert_eq!(has(&state, "odd", &raw), [] as [bool; 0]);
    }
}

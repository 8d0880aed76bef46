//! The command line of tar.

use std::path::PathBuf;

/// What tar is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Create,
    Extract,
    List,
}

/// A name on the command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Operand {
    pub name: String,
    /// The directory of the `-C` options before the name.
    pub directory: PathBuf,
}

/// A command line of tar.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub action: Action,
    /// `-` is a standard stream.
    pub file: String,
    pub gzip: bool,
    pub verbose: bool,
    /// The directory of all `-C` options. As in GNU tar, each one is relative to the one before it.
    pub directory: PathBuf,
    /// `-m`: times are those of extraction.
    pub touch: bool,
    /// `-k`: files that are there stay.
    pub keep_old: bool,
    /// `-O`: the content of files is printed.
    pub to_stdout: bool,
    /// Leading parts of names to leave out.
    pub strip: usize,
    /// Entries get the owners that the archive says, where that is allowed; not so with
    /// `--no-same-owner`.
    pub owners: bool,
    /// `-p` or `--no-same-permissions`; without them root keeps modes and others apply the umask.
    pub modes: Option<bool>,
    /// `-h`: what a symbolic link leads to is packed in its place.
    pub follow: bool,
    pub operands: Vec<Operand>,
}

impl Call {
    /// Adds a name, which belongs to the directory of the `-C` options so far.
    fn add_name(&mut self, name: &str) {
        self.operands.push(Operand { name: name.to_string(), directory: self.directory.clone() });
    }

    /// Returns true if a `-C` follows the last name. It would change nothing for `tar c`.
    fn has_idle_directory(&self) -> bool {
        self.operands.last().is_some_and(|last| last.directory != self.directory)
    }

    /// Returns true if entries get the owners that the archive says.
    pub(super) fn keeps_owners(&self) -> bool {
        self.owners && nix::unistd::geteuid().is_root()
    }

    /// Returns whether set-user-ID bits and their like are kept, and the bits that a mode loses.
    pub(super) fn permissions(&self) -> (bool, u32) {
        if self.modes.unwrap_or_else(|| nix::unistd::geteuid().is_root()) {
            return (true, 0);
        }
        let mask = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
        nix::sys::stat::umask(mask);
        (false, mask.bits() | 0o7000)
    }
}

/// Reads the command line of tar: letters with or without a dash, and long options.
///
/// # Errors
/// What is wrong; empty if it does not say what tar is to do.
pub(super) fn parse(args: &[String]) -> Result<Call, String> {
    let mut action = None;
    let mut call = Call {
        action: Action::List,
        file: "-".into(),
        gzip: false,
        verbose: false,
        directory: ".".into(),
        touch: false,
        keep_old: false,
        to_stdout: false,
        strip: 0,
        owners: true,
        modes: None,
        follow: false,
        operands: Vec::new(),
    };
    let mut words = args.iter();
    let mut first = true;
    while let Some(word) = words.next() {
        let old_style = std::mem::take(&mut first) && !word.starts_with('-');
        let letters = word.strip_prefix('-').filter(|l| !l.is_empty()).or(old_style.then_some(word));
        match (letters, word.strip_prefix("--")) {
            // No word behind `--` is an option.
            (_, Some("")) => words.by_ref().for_each(|name| call.add_name(name)),
            (_, Some(long)) => long_option(long, &mut words, &mut action, &mut call)?,
            (Some(letters), _) => short_options(letters, old_style, &mut words, &mut action, &mut call)?,
            (None, _) => call.add_name(word),
        }
    }
    call.gzip |= [".tgz", ".tar.gz"].iter().any(|end| call.file.ends_with(end));
    call.action = action.ok_or_else(String::new)?;
    if call.action == Action::Create && call.has_idle_directory() {
        return Err("-C has no effect behind the last name; put it before the names".into());
    }
    Ok(call)
}

/// Takes over a long option, `NAME` or `NAME=VALUE`. A value that is not there is the next word.
fn long_option(
    long: &str,
    words: &mut std::slice::Iter<'_, String>,
    action: &mut Option<Action>,
    call: &mut Call,
) -> Result<(), String> {
    let (name, value) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value.to_string())),
        None => (long, None),
    };
    let mut value =
        || value.clone().or_else(|| words.next().cloned()).ok_or(format!("--{name} requires an argument"));
    match name {
        "create" => *action = Some(Action::Create),
        "extract" | "get" => *action = Some(Action::Extract),
        "list" => *action = Some(Action::List),
        "file" => call.file = value()?,
        "directory" => call.directory.push(value()?),
        "gzip" => call.gzip = true,
        "verbose" => call.verbose = true,
        "touch" => call.touch = true,
        "strip-components" => call.strip = value()?.parse().map_err(|_| "invalid number".to_string())?,
        "no-same-owner" => call.owners = false,
        "same-owner" => call.owners = true,
        "no-same-permissions" => call.modes = Some(false),
        "same-permissions" | "preserve-permissions" => call.modes = Some(true),
        "dereference" => call.follow = true,
        "keep-old-files" => call.keep_old = true,
        "to-stdout" => call.to_stdout = true,
        // Owners are numbers here, and there are no warnings to choose from.
        "warning" | "numeric-owner" => {}
        _ => return Err(format!("unrecognized option '--{name}'")),
    }
    Ok(())
}

/// Takes over a word of letters. `old_style`: without a dash; then all letters come first and their
/// values are the words after them.
fn short_options(
    letters: &str,
    old_style: bool,
    words: &mut std::slice::Iter<'_, String>,
    action: &mut Option<Action>,
    call: &mut Call,
) -> Result<(), String> {
    let mut letters = letters.chars();
    while let Some(letter) = letters.next() {
        match letter {
            'c' => *action = Some(Action::Create),
            'x' => *action = Some(Action::Extract),
            't' => *action = Some(Action::List),
            'z' => call.gzip = true,
            'v' => call.verbose = true,
            'm' => call.touch = true,
            'k' => call.keep_old = true,
            'O' => call.to_stdout = true,
            'o' => call.owners = false,
            'p' => call.modes = Some(true),
            'h' => call.follow = true,
            'f' | 'C' => {
                let rest: String = if old_style { String::new() } else { letters.by_ref().collect() };
                let value = if rest.is_empty() { words.next().cloned() } else { Some(rest) };
                let value = value.ok_or(format!("option requires an argument -- '{letter}'"))?;
                match letter {
                    'f' => call.file = value,
                    _ => call.directory.push(value),
                }
            }
            other => return Err(format!("unrecognized option: {other}")),
        }
    }
    Ok(())
}

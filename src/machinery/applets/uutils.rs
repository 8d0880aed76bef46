//! Programs of the uutils project (MIT), one crate each.

use super::{Applet, sed_script};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What each of them needs around it: SIGPIPE as it was, its texts, and its last output written.
macro_rules! uu {
    ($program:ident) => {{
        fn run(args: Vec<OsString>) -> i32 {
            uucore::panic::preserve_inherited_sigpipe();
            uucore::panic::mute_sigpipe_panic();
            // Without it messages are raw keys; it fails only if it was done before.
            let _ = uucore::locale::setup_localization(uucore::get_canonical_util_name(stringify!($program)));
            flushed($program::uumain(args.into_iter()))
        }
        run as Applet
    }};
}

fn flushed(code: i32) -> i32 {
    let _ = std::io::stdout().flush(); // a reader that is gone is no error of the program
    code
}

/// The program of that name.
pub(crate) fn find(name: &str) -> Option<Applet> {
    Some(match name {
        "[" | "test" => uu!(uu_test),
        "base64" => uu!(uu_base64),
        "basename" => uu!(uu_basename),
        "cat" => uu!(uu_cat),
        "chmod" => uu!(uu_chmod),
        "chown" => uu!(uu_chown),
        "cp" => uu!(uu_cp),
        "cut" => uu!(uu_cut),
        "date" => uu!(uu_date),
        "dd" => uu!(uu_dd),
        "df" => uu!(uu_df),
        "dirname" => uu!(uu_dirname),
        "du" => uu!(uu_du),
        "echo" => uu!(uu_echo),
        "egrep" | "fgrep" | "grep" => grep,
        "env" => uu!(uu_env),
        "expr" => uu!(uu_expr),
        "find" => find_program,
        "head" => uu!(uu_head),
        "id" => uu!(uu_id),
        "kill" => uu!(uu_kill),
        "ln" => uu!(uu_ln),
        "ls" => uu!(uu_ls),
        "md5sum" => uu!(uu_md5sum),
        "mkdir" => uu!(uu_mkdir),
        "mktemp" => uu!(uu_mktemp),
        "mv" => uu!(uu_mv),
        "nl" => uu!(uu_nl),
        "nproc" => uu!(uu_nproc),
        "od" => uu!(uu_od),
        "printenv" => uu!(uu_printenv),
        "printf" => uu!(uu_printf),
        "pwd" => uu!(uu_pwd),
        "readlink" => uu!(uu_readlink),
        "realpath" => uu!(uu_realpath),
        "rm" => uu!(uu_rm),
        "rmdir" => uu!(uu_rmdir),
        "sed" => sed_program,
        "seq" => uu!(uu_seq),
        "sha256sum" => uu!(uu_sha256sum),
        "sleep" => uu!(uu_sleep),
        "sort" => uu!(uu_sort),
        "stat" => uu!(uu_stat),
        "sync" => uu!(uu_sync),
        "tac" => uu!(uu_tac),
        "tail" => tail,
        "tee" => uu!(uu_tee),
        "timeout" => timeout,
        "touch" => uu!(uu_touch),
        "tr" => uu!(uu_tr),
        "uname" => uu!(uu_uname),
        "uniq" => uu!(uu_uniq),
        "uptime" => uu!(uu_uptime),
        "wc" => uu!(uu_wc),
        "whoami" => uu!(uu_whoami),
        "xargs" => xargs,
        "yes" => uu!(uu_yes),
        _ => return None,
    })
}

/// The last lines of what never ends are never known: like everybody's, this `tail` reads on and
/// keeps what it read, until the memory's limit ends it (`tail /dev/zero` is how an OOM kill is
/// shown). uutils asks such a device for its size, is told 0, and prints from there.
fn tail(mut args: Vec<OsString>) -> i32 {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let null = nix::sys::stat::makedev(1, 3); // has an end: `tail -f /dev/null` waits
    let endless = |name: &OsString| {
        std::fs::metadata(name).is_ok_and(|m| m.file_type().is_char_device() && m.rdev() != null)
    };
    if args.iter().skip(1).any(endless) {
        args.insert(1, "---presume-input-pipe".into());
    }
    (uu!(uu_tail))(args)
}

/// `egrep` and `fgrep` are grep with an option.
fn grep(mut args: Vec<OsString>) -> i32 {
    let name = args.first().map(|a| a.to_string_lossy().into_owned()).unwrap_or_default();
    let option = match name.rsplit('/').next() {
        Some("egrep") => Some("-E"),
        Some("fgrep") => Some("-F"),
        _ => None,
    };
    if let Some(option) = option {
        args.insert(1, option.into());
    }
    if let Some(status) = refuse_grep(&args) {
        return status;
    }
    if has_basic_patterns(&args) {
        // No file has such a name.
        args = args.into_iter().map(|arg| arg.into_string().map_or_else(|raw| raw, with_blanks)).collect();
    }
    flushed(uu_grep::uumain(args.into_iter()))
}

/// Tells what is wrong with the options of grep, and returns the status; `None` if nothing is.
/// `uu_grep` itself prints the keys of its texts, because those are in a crate that is not set up.
fn refuse_grep(args: &[OsString]) -> Option<i32> {
    // `-5` is `-C5`, which the table of options does not know.
    let number = |arg: &OsString| {
        let digits = arg.to_str()?.strip_prefix('-').filter(|digits| !digits.is_empty())?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| OsString::from(format!("-C{digits}")))
    };
    let args = args.iter().map(|arg| number(arg).unwrap_or_else(|| arg.clone()));
    let refused = uu_grep::uu_app().try_get_matches_from(args).err()?;
    let _ = refused.print(); // there is nowhere left to say it
    Some(if refused.use_stderr() { 2 } else { 0 })
}

/// Whether no option of grep asks for patterns that are extended, fixed, or Perl's.
fn has_basic_patterns(args: &[OsString]) -> bool {
    let others = ["--extended-regexp", "--fixed-strings", "--perl-regexp"];
    let asks = |word: &str| match word.strip_prefix('-') {
        Some(long) if long.starts_with('-') => long.len() > 1 && others.iter().any(|o| o.starts_with(word)),
        // Behind one of these letters stands its value.
        Some(letters) => {
            letters.chars().take_while(|c| !"efmABCDd".contains(*c)).any(|c| matches!(c, 'E' | 'F' | 'P'))
        }
        None => false,
    };
    !args.iter().skip(1).filter_map(|arg| arg.to_str()).take_while(|word| *word != "--").any(asks)
}

/// Returns a basic pattern with sets in place of `\s` and `\S`, which `uu_grep` takes for letters
/// there.
fn with_blanks(pattern: String) -> OsString {
    let (mut out, mut rest) = (String::with_capacity(pattern.len()), pattern.as_str());
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '[' => set_length(rest),
            c => c.len_utf8(),
        };
        let (taken, behind) = rest.split_at(length);
        out.push_str(match taken {
            "\\s" => "[[:space:]]",
            "\\S" => "[^[:space:]]",
            taken => taken,
        });
        rest = behind;
    }
    out.into()
}

/// The length of the set in brackets at the beginning of a pattern.
fn set_length(pattern: &str) -> usize {
    let inner = pattern[1..].strip_prefix('^').unwrap_or(&pattern[1..]);
    let mut rest = inner.strip_prefix(']').unwrap_or(inner);
    loop {
        // `[:space:]` and the like end with a bracket of their own.
        let class = ["[:", "[.", "[="].into_iter().find(|open| rest.starts_with(open));
        let class_end = class.and_then(|open| rest[2..].find(&format!("{}]", &open[1..])));
        match (class_end, rest.chars().next()) {
            (Some(end), _) => rest = &rest[2 + end + 2..],
            (None, Some(']')) => return pattern.len() - rest.len() + 1,
            (None, Some(c)) => rest = &rest[c.len_utf8()..],
            (None, None) => return pattern.len(),
        }
    }
}

fn sed_program(args: Vec<OsString>) -> i32 {
    uucore::panic::mute_sigpipe_panic();
    let _ = uucore::locale::setup_localization("sed");
    let (adapted, refers_back) = sed_script::adapted(args.clone());
    if let Some(locale) = sed_script::locale(refers_back, |name| std::env::var(name).ok()) {
        // Once more with that locale, which only another program can be given.
        let mut sed = Command::new("/proc/self/exe");
        let error = sed.arg0("sed").args(args.iter().skip(1)).env("LC_ALL", locale).exec();
        eprintln!("sed: cannot start with LC_ALL={locale}: {error}");
        return 4; // as GNU sed's for an error of the system
    }
    flushed(sed::sed::uumain(adapted.into_iter()))
}

/// `timeout`, whose status is 137 if it killed the program, as GNU's. uutils' is 124 then, too.
fn timeout(args: Vec<OsString>) -> i32 {
    let kills = sends_kill(&args);
    let code = uu!(uu_timeout)(args);
    if code == 124 && kills { 128 + libc::SIGKILL } else { code }
}

/// Whether the signal that the options of `timeout` name is KILL.
fn sends_kill(args: &[OsString]) -> bool {
    let is_kill = |name: &str| matches!(name.to_ascii_uppercase().trim_start_matches("SIG"), "KILL" | "9");
    let mut words = args.iter().skip(1).map(|word| word.to_string_lossy());
    let mut kills = false;
    while let Some(word) = words.next().filter(|word| word.len() > 1 && word.starts_with('-')) {
        match word
            .strip_prefix("--signal=")
            .or_else(|| word.strip_prefix("-s").filter(|name| !name.is_empty()))
        {
            Some(name) => kills = is_kill(name),
            None if matches!(&*word, "-s" | "--signal") => {
                kills = words.next().is_some_and(|name| is_kill(&name))
            }
            None if matches!(&*word, "-k" | "--kill-after") => drop(words.next()),
            None => {}
        }
    }
    kills
}

/// findutils takes text only.
fn texts(args: Vec<OsString>) -> Vec<String> {
    args.into_iter().map(|a| a.to_string_lossy().into_owned()).collect()
}

fn find_program(args: Vec<OsString>) -> i32 {
    let args = texts(args);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    flushed(findutils::find::find_main(&args, &findutils::find::StandardDependencies::new()))
}

fn xargs(args: Vec<OsString>) -> i32 {
    let args = texts(args);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    flushed(findutils::xargs::xargs_main(&args))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn blanks_are_sets_in_basic_patterns() {
        for (pattern, wanted) in [
            ("^\\s*#", "^[[:space:]]*#"),
            ("a\\S\\\\s", "a[^[:space:]]\\\\s"),
            ("[\\s][]\\s][^]\\s[:space:]\\s]\\s", "[\\s][]\\s][^]\\s[:space:]\\s][[:space:]]"),
            ("[\\s", "[\\s"),
            ("\u{e9}\\", "\u{e9}\\"),
        ] {
            assert_eq!(with_blanks(pattern.into()), wanted, "{pattern}");
        }
        for line in ["grep -e \\s", "grep -eE x", "grep x -- -E", "grep -A3 x", "grep --exclude=E x"] {
            assert!(has_basic_patterns(&words(line)), "{line}");
        }
        for line in ["grep -ivE x", "grep x -F", "grep --perl-regexp x", "grep --ext x"] {
            assert!(!has_basic_patterns(&words(line)), "{line}");
        }
    }

    #[test]
    fn wrong_options_of_grep_are_refused() {
        for (line, status) in [
            ("grep --nosuch x", Some(2)),
            ("grep -e", Some(2)),
            ("grep -A x y", Some(2)),
            ("grep --version", Some(0)),
            ("grep -5 x", None),
            ("grep -e -5", None),
            ("grep -e --nosuch", None),
            ("grep", None),
        ] {
            assert_eq!(refuse_grep(&words(line)), status, "{line}");
        }
    }

    #[test]
    fn the_signal_of_timeout_is_known() {
        let kills = |line: &str| sends_kill(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for line in [
            "timeout -s KILL 1 x",
            "timeout -s9 1 x",
            "timeout -k 1 --signal=SIGKILL 1 x",
            "timeout --signal kill 1 x",
        ] {
            assert!(kills(line), "{line}");
        }
        for line in ["timeout 1 x -s KILL", "timeout -s TERM 1 x", "timeout -k 9 1 x", "timeout"] {
            assert!(!kills(line), "{line}");
        }
    }
}

//! Programs of the uutils project (MIT), one crate each.

use super::{Applet, grep, sed_script};
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

/// Writes what standard output still holds, and returns the status.
pub(crate) fn flushed(code: i32) -> i32 {
    let _ = std::io::stdout().flush(); // a reader that is gone is no error of the program
    code
}

/// Returns the program of that name.
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
        "df" => df,
        "dirname" => uu!(uu_dirname),
        "du" => uu!(uu_du),
        "echo" => uu!(uu_echo),
        "egrep" | "fgrep" | "grep" => grep::main,
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

/// `tail`. The last lines of an endless device are never known: as GNU's, this one reads on and
/// keeps what it read, until the memory's limit ends it (`tail /dev/zero` is how an OOM kill is
/// shown). uutils' takes the size of such a device, which is 0, and prints from there.
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

/// `df`, which takes `-m`, as busybox' and GNU's do: sizes in mebibytes.
fn df(args: Vec<OsString>) -> i32 {
    (uu!(uu_df))(with_block_size(args))
}

/// Writes the option `-m` as uutils' df knows it.
fn with_block_size(args: Vec<OsString>) -> Vec<OsString> {
    let options = args.iter().take_while(|arg| *arg != "--").count();
    let rewrite = |(place, arg): (usize, OsString)| match place < options {
        true => in_mebibytes(arg),
        false => vec![arg],
    };
    args.into_iter().enumerate().flat_map(rewrite).collect()
}

/// Splits `m` off from the letters of a word of options: `-Pm` is `-P -BM`. What follows `B`, `t`
/// or `x` is the value of that option.
fn in_mebibytes(word: OsString) -> Vec<OsString> {
    let letters = word.to_str().and_then(|text| text.strip_prefix('-')).unwrap_or_default();
    let flags = letters.find(['-', 'B', 't', 'x']).unwrap_or(letters.len());
    let Some(at) = letters[..flags].find('m') else { return vec![word] };
    let (before, rest) = (&letters[..at], &letters[at + 1..]);
    let option = |some: &str| (!some.is_empty()).then(|| OsString::from(format!("-{some}")));
    let rest = option(rest).map(in_mebibytes).unwrap_or_default();
    option(before).into_iter().chain([OsString::from("-BM")]).chain(rest).collect()
}

/// GNU sed's status where a file cannot be read.
const SED_UNREADABLE: i32 = 2;
/// GNU sed's status where the system refuses what sed needs.
const SED_SYSTEM_ERROR: i32 = 4;

fn sed_program(args: Vec<OsString>) -> i32 {
    uucore::panic::mute_sigpipe_panic();
    let _ = uucore::locale::setup_localization("sed");
    let mut call = sed_script::adapt_arguments(args.clone());
    if call.has_null_data {
        eprintln!("sed: option -z is not supported");
        return 1;
    }
    if let Some(reason) = call.needs.refusal() {
        eprintln!("sed: {reason}");
        return 1;
    }
    let stack = call.needs.stack_size();
    if let Some(locale) = sed_script::needed_locale(call.needs.refers_back, |name| std::env::var(name).ok()) {
        // Once more with that locale, which only another program can be given.
        let mut sed = Command::new("/proc/self/exe");
        let error = sed.arg0("sed").args(args.iter().skip(1)).env("LC_ALL", locale).exec();
        eprintln!("sed: cannot start with LC_ALL={locale}: {error}");
        return SED_SYSTEM_ERROR;
    }
    let unreadable = call.take_unreadable();
    let has_none = !unreadable.is_empty() && call.files.is_empty();
    if has_none && !call.is_in_place {
        // Without a file it would read standard input. A wrong script comes before the files.
        let args = call.args.iter().cloned().chain([OsString::from("/dev/null")]);
        let code = run_sed(args.collect(), stack);
        if code != 0 {
            return code;
        }
    }
    for (name, error) in &unreadable {
        eprintln!("sed: can't read {}: {}", name.to_string_lossy(), crate::reason(error));
    }
    if has_none {
        return SED_UNREADABLE;
    }
    let code = run_sed(call.args, stack);
    if code == 0 && !unreadable.is_empty() { SED_UNREADABLE } else { code }
}

/// Runs uutils' sed; with `stack` in a thread that has so many bytes of stack.
fn run_sed(args: Vec<OsString>, stack: Option<usize>) -> i32 {
    let Some(stack) = stack else { return flushed(sed::sed::uumain(args.into_iter())) };
    let run = move || {
        // Each thread has texts of its own.
        let _ = uucore::locale::setup_localization("sed");
        flushed(sed::sed::uumain(args.into_iter()))
    };
    match std::thread::Builder::new().stack_size(stack).spawn(run).map(|thread| thread.join()) {
        Ok(Ok(code)) => code,
        Ok(Err(_)) => SED_SYSTEM_ERROR, // it panicked and said so
        Err(error) => {
            eprintln!("sed: cannot start a thread for a long script: {}", crate::reason(&error));
            SED_SYSTEM_ERROR
        }
    }
}

/// `timeout`, whose status is 137 if it killed the program, as GNU's. uutils' is 124 then, too.
fn timeout(args: Vec<OsString>) -> i32 {
    let kills = sends_kill(&args);
    let code = uu!(uu_timeout)(args);
    if code == 124 && kills { 128 + libc::SIGKILL } else { code }
}

/// Returns whether the signal that the options of `timeout` name is KILL.
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

/// Returns the arguments as texts: findutils takes nothing else.
fn all_as_text(args: Vec<OsString>) -> Vec<String> {
    args.into_iter().map(|a| a.to_string_lossy().into_owned()).collect()
}

fn find_program(args: Vec<OsString>) -> i32 {
    let args = all_as_text(args);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    flushed(findutils::find::find_main(&args, &findutils::find::StandardDependencies::new()))
}

fn xargs(args: Vec<OsString>) -> i32 {
    let args = all_as_text(args);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    flushed(findutils::xargs::xargs_main(&args))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn df_counts_in_mebibytes() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (line, wanted) in [
            ("df -m /", "df -BM /"),
            ("df / -m -- -m", "df / -BM -- -m"),
            ("df -h", "df -h"),
            ("df -Pm /tmp", "df -P -BM /tmp"),
            ("df -hmT -mm", "df -h -BM -T -BM -BM"),
            ("df -mtmemory -xm -Bm", "df -BM -tmemory -xm -Bm"),
            ("df - --human-readable -- -Pm", "df - --human-readable -- -Pm"),
        ] {
            assert_eq!(with_block_size(words(line)), words(wanted));
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

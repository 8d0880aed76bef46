//! Programs of a few lines: `busybox`, `which`, `clear`, `hostname`, `watch`, `stress`, `more`.

use super::{arguments_as_text, resolve};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

fn print_usage(text: &str) -> i32 {
    eprintln!("Usage: {text}");
    1
}

/// `busybox PROGRAM ARGUMENT…` runs another program of this binary, `busybox --list` lists those of
/// the image.
pub(crate) fn busybox(args: Vec<OsString>) -> i32 {
    let mut words = args.into_iter().skip(1);
    let Some(program) = words.next().filter(|word| word != "--help") else {
        let list = own_programs().join(", ");
        super::write_stdout(&format!(
            "Usage: busybox PROGRAM [ARGUMENT]...\n   or: busybox --list\n\nPrograms: {list}\n"
        ));
        return 0;
    };
    if program == "--list" {
        own_programs().iter().for_each(|name| super::write_stdout(&format!("{name}\n")));
        return 0;
    }
    let name = program.to_string_lossy().into_owned();
    if !super::exists(&name) {
        super::write_stderr(&format!("{name}: applet not found\n"));
        return 127;
    }
    let words: Vec<OsString> = words.collect();
    // A container may lack /proc. The programs of an image are files of this binary.
    let named = format!("/bin/{name}");
    let error = exec_first(&["/proc/self/exe", &named, "/bin/busybox"], &program, &words);
    super::write_stderr(&format!("busybox: cannot run {name}: {}\n", super::reason(&error)));
    126
}

/// Replaces this process by the first of these files that is there, under a program's name: of this
/// binary, the name says what it does. Returns why it could not.
fn exec_first(files: &[&str], program: &OsStr, words: &[OsString]) -> io::Error {
    use std::os::unix::process::CommandExt;
    let mut error = io::Error::from(io::ErrorKind::NotFound);
    for file in files {
        error = Command::new(file).arg0(program).args(words).exec();
        if error.kind() != io::ErrorKind::NotFound {
            break;
        }
    }
    error
}

/// Returns the names in /bin that are programs of this binary, in order.
fn own_programs() -> Vec<String> {
    let entries = std::fs::read_dir("/bin").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| super::exists(name)).collect();
    names.sort();
    names
}

/// `which [-a] NAME…`
pub(crate) fn which(args: Vec<OsString>) -> i32 {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/sbin:/usr/sbin:/bin:/usr/bin".into());
    let words = arguments_as_text(args);
    let all = words.iter().any(|word| word == "-a");
    let mut code = i32::from(words.iter().all(|word| word == "-a")); // no name, nothing found
    for name in words.iter().filter(|name| *name != "-a") {
        let found = find_programs(name, &path, all);
        if found.is_empty() {
            code = 1;
        }
        for file in found {
            println!("{file}");
        }
    }
    code
}

/// Returns the programs of a name in the folders of a path: the first one, or all.
fn find_programs(name: &str, path: &str, all: bool) -> Vec<String> {
    let runs = |file: &String| {
        std::fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    let mut candidates: Vec<String> = path.split(':').map(|dir| format!("{dir}/{name}")).collect();
    if name.contains('/') {
        candidates = vec![name.to_string()];
    }
    candidates.into_iter().filter(runs).take(if all { usize::MAX } else { 1 }).collect()
}

pub(crate) fn clear(_: Vec<OsString>) -> i32 {
    print!("\x1b[H\x1b[2J\x1b[3J");
    i32::from(io::stdout().flush().is_err())
}

/// `hostname [-f|-s|-i|-d]`
pub(crate) fn hostname(args: Vec<OsString>) -> i32 {
    let args = arguments_as_text(args);
    let own = super::host_name();
    match args.first().map(String::as_str) {
        None => println!("{own}"),
        Some("-s") => println!("{}", own.split('.').next().unwrap_or_default()),
        Some("-f") => println!("{}", full_name(&own)),
        Some("-d") => println!("{}", full_name(&own).split_once('.').map_or("", |(_, domain)| domain)),
        Some("-i" | "-I") => match resolve::addresses(&own, None) {
            Ok(found) => println!("{}", found.iter().map(|ip| ip.to_string()).collect::<Vec<_>>().join(" ")),
            Err(e) => {
                eprintln!("hostname: {own}: {e}");
                return 1;
            }
        },
        Some(name) if !name.starts_with('-') => {
            if let Err(e) = nix::unistd::sethostname(name) {
                eprintln!("hostname: sethostname: {}", e.desc());
                return 1;
            }
        }
        Some(_) => return print_usage("hostname [-fsid] [NAME]"),
    }
    0
}

/// Returns the first name on this host's line in /etc/hosts.
fn full_name(own: &str) -> String {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let mut lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default().split_whitespace());
    let found = lines.find_map(|words| {
        let names: Vec<&str> = words.skip(1).collect();
        names.contains(&own).then(|| names[0].to_string())
    });
    found.unwrap_or_else(|| own.to_string())
}

/// `watch [-n SECONDS] [-t] COMMAND…`
pub(crate) fn watch(args: Vec<OsString>) -> i32 {
    let args = arguments_as_text(args);
    let (mut seconds, mut title, mut rest) = (2.0f64, true, &args[..]);
    while let [option, more @ ..] = rest {
        let (value, after) = match (option.strip_prefix("-n"), more) {
            (Some(""), [value, after @ ..]) => (value.as_str(), after),
            (Some(value), _) if !value.is_empty() => (value, more),
            _ if option == "-t" => {
                (title, rest) = (false, more);
                continue;
            }
            _ => break,
        };
        let Some(interval) = parse_interval(value) else {
            eprintln!("watch: invalid number '{value}'");
            return 1;
        };
        (seconds, rest) = (interval, after);
    }
    if rest.is_empty() || rest[0].starts_with('-') {
        return print_usage("watch [-n SEC] [-t] PROG ARGS");
    }
    let line = rest.join(" ");
    loop {
        let mut text = "\x1b[H\x1b[J".to_string();
        if title {
            let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
            text += &format!("Every {seconds:.1}s: {line:<40} {now}\n\n");
        }
        if io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()).is_err() {
            return 1;
        }
        if let Err(e) = Command::new("/bin/sh").args(["-c", &line]).status() {
            eprintln!("watch: cannot run sh: {e}");
            return 1;
        }
        std::thread::sleep(Duration::try_from_secs_f64(seconds.max(0.1)).unwrap_or(Duration::from_secs(2)));
    }
}

/// Returns the seconds of `watch -n`.
fn parse_interval(text: &str) -> Option<f64> {
    text.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0)
}

/// `64M` and the like, in bytes.
fn parse_bytes(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(factor)
}

/// `10`, `10s`, `5m`, `1h`.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return None,
    };
    Some(Duration::from_secs(digits.parse::<u64>().ok()?.checked_mul(factor)?))
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Load {
    cpu: usize,
    vm: usize,
    vm_bytes: Option<usize>,
    timeout: Option<Duration>,
}

fn parse_stress(args: &[String]) -> Option<Load> {
    let mut load = Load::default();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (word.as_str(), None),
        };
        let mut value = || inline.clone().or_else(|| words.next().cloned());
        match name {
            "-c" | "--cpu" => load.cpu = value()?.parse().ok()?,
            "-m" | "--vm" => load.vm = value()?.parse().ok()?,
            "--vm-bytes" => load.vm_bytes = Some(parse_bytes(&value()?)?),
            "-t" | "--timeout" => load.timeout = Some(parse_duration(&value()?)?),
            "--vm-hang" => drop(value()?), // memory is held anyway
            "--vm-keep" | "-v" | "--verbose" | "-q" | "--quiet" => {}
            _ => return None,
        }
    }
    if load.vm_bytes.is_some() && load.vm == 0 {
        load.vm = 1;
    }
    (load.cpu + load.vm > 0).then_some(load)
}

/// `stress --cpu N --vm N --vm-bytes SIZE --timeout TIME`: uses up what its flags name. All hogs
/// are threads of one process, so that the kernel's out-of-memory killer meets the program itself.
pub(crate) fn stress(args: Vec<OsString>) -> i32 {
    let Some(load) = parse_stress(&arguments_as_text(args)) else {
        return print_usage("stress [--cpu N] [--vm N] [--vm-bytes SIZE] [--vm-hang SEC] [--timeout TIME]");
    };
    let pid = std::process::id();
    println!("stress: info: [{pid}] dispatching hogs: {} cpu, 0 io, {} vm, 0 hdd", load.cpu, load.vm);
    for _ in 0..load.cpu {
        std::thread::spawn(|| {
            let mut x = 1u64;
            loop {
                x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            }
        });
    }
    let size = load.vm_bytes.unwrap_or(256 << 20);
    for _ in 0..load.vm {
        std::thread::spawn(move || {
            let mut memory: Vec<u8> = Vec::new();
            if memory.try_reserve_exact(size).is_err() {
                eprintln!("stress: FAIL: [{pid}] cannot allocate {size} bytes");
                std::process::exit(1);
            }
            memory.resize(size, b'Z'); // touched, so it is really used
            loop {
                std::thread::park();
                std::hint::black_box(&memory);
            }
        });
    }
    match load.timeout {
        Some(time) => std::thread::sleep(time),
        None => loop {
            std::thread::park();
        },
    }
    println!(
        "stress: info: [{pid}] successful run completed in {}s",
        load.timeout.unwrap_or_default().as_secs()
    );
    0
}

/// `more [FILE…]`, and `less`: a screen at a time on a terminal, else like cat. Nothing is read
/// before it is to be shown.
pub(crate) fn more(args: Vec<OsString>) -> i32 {
    let names: Vec<String> =
        arguments_as_text(args).into_iter().filter(|a| !a.starts_with('-') || a == "-").collect();
    let mut keys = match File::options().read(true).write(true).open("/dev/tty") {
        Ok(keys) if io::stdout().is_terminal() => Some(keys),
        _ => None,
    };
    let rows = std::env::var("LINES").ok().and_then(|n| n.parse().ok()).unwrap_or(24usize).max(2);
    let (mut left, mut code) = (rows - 1, 0);
    for name in if names.is_empty() { vec!["-".to_string()] } else { names } {
        let input: io::Result<Box<dyn BufRead>> = match name.as_str() {
            "-" => Ok(Box::new(io::stdin().lock())),
            name => File::open(name).map(|file| Box::new(BufReader::new(file)) as Box<dyn BufRead>),
        };
        let shown = match (input, &mut keys) {
            (Ok(mut input), Some(keys)) => {
                show_pages(&mut input, &mut io::stdout(), rows, &mut left, || read_key(keys))
            }
            (Ok(mut input), None) => io::copy(&mut input, &mut io::stdout()).map(|_| true),
            (Err(e), _) => Err(e),
        };
        match shown {
            Ok(true) => {}
            Ok(false) => return code,
            Err(e) => {
                eprintln!("more: {name}: {}", super::reason(&e));
                code = 1;
            }
        }
    }
    code
}

/// Waits for a key; `None` at the end of the terminal.
fn read_key(keys: &mut File) -> io::Result<Option<u8>> {
    let before = tcgetattr(&keys)?;
    let mut raw = before.clone();
    cfmakeraw(&mut raw);
    tcsetattr(&keys, SetArg::TCSANOW, &raw)?;
    let mut key = [0];
    let read = keys.read(&mut key);
    tcsetattr(&keys, SetArg::TCSANOW, &before)?;
    Ok((read? > 0).then_some(key[0]))
}

/// A longer line is shown in parts.
const LINE_MAX: u64 = 64 * 1024;

/// Shows a text by screens: space shows the next screen, Enter the next line, and q ends. Returns
/// false then.
fn show_pages(
    input: &mut impl BufRead,
    out: &mut impl Write,
    rows: usize,
    left: &mut usize,
    mut ask: impl FnMut() -> io::Result<Option<u8>>,
) -> io::Result<bool> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
            out.flush()?;
            return Ok(true);
        }
        if *left == 0 {
            out.write_all(b"--More--")?;
            out.flush()?;
            let key = ask()?;
            out.write_all(b"\r        \r")?;
            *left = match key {
                None | Some(b'q' | b'Q' | 3 | 4) => return Ok(false),
                Some(b'\r' | b'\n') => 1,
                Some(_) => rows - 1,
            };
        }
        out.write_all(&line)?;
        *left -= usize::from(line.ends_with(b"\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in a container without /proc. In a process of its own, which becomes the program.
    #[test]
    fn a_program_is_found_without_proc() {
        const INSIDE: &str = "ROPEWALK_TEST_EXEC_FIRST";
        let files = ["/nowhere/self/exe", "/nowhere/bin/sh", "/bin/sh"];
        if std::env::var_os(INSIDE).is_some() {
            let words = ["-c", "echo \"found as $0\""].map(OsString::from);
            panic!("{}", exec_first(&files, OsStr::new("shell"), &words));
        }
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "small::tests::a_program_is_found_without_proc", "--nocapture"])
            .env(INSIDE, "1")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(printed.contains("found as shell"), "{printed}{}", String::from_utf8_lossy(&ended.stderr));
        let failed = exec_first(&files[..2], OsStr::new("sh"), &[]);
        assert_eq!(failed.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_pager_reads_no_further_than_it_shows() {
        let mut endless = BufReader::with_capacity(8, io::repeat(b'\n')); // as of `tail -f`
        let (mut out, mut left, mut keys) = (Vec::new(), 2, b" \nq".iter().copied());
        let shown = show_pages(&mut endless, &mut out, 3, &mut left, || Ok(keys.next()));
        assert!(matches!(shown, Ok(false)));
        let lines = out.iter().filter(|b| **b == b'\n').count();
        assert_eq!(lines, 2 + 2 + 1, "a screen, a screen, a line");
        let mut end = &b"a\nb"[..];
        let (mut out, mut left) = (Vec::new(), 9);
        assert!(show_pages(&mut end, &mut out, 10, &mut left, || Ok(None)).unwrap());
        assert_eq!((out.as_slice(), left), (&b"a\nb"[..], 8));
    }

    #[test]
    fn which_names_the_first_program_or_all() {
        let dir = tempfile::tempdir().unwrap();
        let file = |folder: &str, mode| {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
            let file = dir.path().join(folder).join("tool");
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
            file.display().to_string()
        };
        let (plain, first, second) = (file("a", 0o644), file("b", 0o755), file("c", 0o755));
        let root = dir.path().display();
        let path = format!("{root}/a:{root}/b:{root}/c");
        assert_eq!(find_programs("tool", &path, false), std::slice::from_ref(&first));
        assert_eq!(find_programs("tool", &path, true), [first, second.clone()]);
        assert_eq!(find_programs(&second, "", true), std::slice::from_ref(&second));
        assert!(find_programs(&plain, &path, true).is_empty());
        assert_eq!((which(vec!["which".into()]), which(vec!["which".into(), "-a".into()])), (1, 1));
    }

    #[test]
    fn an_interval_is_a_number() {
        assert_eq!((parse_interval("2"), parse_interval("0.5")), (Some(2.0), Some(0.5)));
        for wrong in ["x", "", "1s", "-1", "inf", "nan"] {
            assert_eq!(parse_interval(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_and_times_are_those_of_stress() {
        assert_eq!(
            (parse_bytes("64M"), parse_bytes("1g"), parse_bytes("5x")),
            (Some(64 << 20), Some(1 << 30), None)
        );
        assert_eq!((parse_duration("2m"), parse_duration("x")), (Some(Duration::from_secs(120)), None));
        let load =
            parse_stress(&["--vm-bytes".into(), "150M".into(), "--vm-hang".into(), "1".into(), "-c1".into()]);
        assert_eq!(load, None);
        let load = parse_stress(&["--vm-bytes=150M".into(), "-t".into(), "5".into()]).unwrap();
        assert_eq!((load.vm, load.timeout), (1, Some(Duration::from_secs(5))));
    }
}

use super::free::{free_text, free_unit, parse_memory};
use super::process::{Process, parse_names, parse_stat, read, read_all, real_ids, ticks_per_second, uptime};
use super::ps::{column_value, pad_cell, ps_columns, ps_text};
use super::top::{Top, format_memory, top_options, top_text};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};

#[test]
fn a_name_may_hold_parentheses() {
    let stat = "42 (a) b) S 7 41 40 34817 -1 4194560 100 0 0 0 250 50 0 0 20 5 1 0 900 4096000 300 18446744073709551615";
    let process = parse_stat(stat).unwrap();
    assert_eq!((process.pid, process.comm.as_str(), process.ppid), (42, "a) b", 7));
    assert_eq!((process.ticks, process.nice, process.started), (300, 5, 900));
    assert_eq!((process.pgid, process.sid, process.tty), (41, 40, 34817));
    assert_eq!((process.size, process.resident), (4_096_000, 300));
    assert_eq!(parse_stat("nonsense"), None);
    let steering = parse_stat(&stat.replace("a) b", "a\x1b[2J\nb")).unwrap();
    assert_eq!((steering.pid, steering.comm.as_str()), (42, "a [2J b"));
}

/// As a name in Korean that the kernel cut in the middle of a letter.
#[test]
fn a_process_whose_name_is_no_text_is_shown() {
    use std::os::unix::{ffi::OsStringExt, process::CommandExt};
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join(OsString::from_vec(b"a\xed\x95".to_vec()));
    std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
    let mut child = std::process::Command::new(&program).arg0("sleep").arg("600").spawn().unwrap();
    let shown = read(&child.id().to_string());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(shown.unwrap().comm.starts_with('a'));
}

#[test]
fn the_group_is_a_groups_name() {
    let users = parse_names("root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/:/bin/false\n");
    let groups = parse_names("root:x:0:\nwww:x:102:web\nbroken\n");
    let process = Process { uid: 101, gid: 102, ..Process::default() };
    let shown = |column: &str| column_value(&process, column, &users, &groups);
    assert_eq!((shown("user"), shown("group")), ("web".to_string(), "www".to_string()));
    assert_eq!(shown("ruser"), "root");
    assert_eq!(real_ids("Name:\tx\nUid:\t7\t101\t101\t101\nGid:\t8\t102\t102\t102\n"), Some((7, 8)));
    assert_eq!(real_ids("Name:\tx\n"), None);
    let own = read("self").unwrap();
    let ids = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    assert_eq!((own.ruid, own.rgid), ids);
    let process = Process { uid: 0, gid: 7, ..Process::default() };
    assert_eq!(column_value(&process, "group", &users, &groups), "7", "a number without a name");
}

#[test]
fn a_process_has_an_age_and_perhaps_a_terminal() {
    let shown = |process: &Process, column| column_value(process, column, &BTreeMap::new(), &BTreeMap::new());
    let late = Process { started: u64::MAX, tty: 34817, ..Process::default() };
    assert_eq!((shown(&late, "etime"), shown(&late, "tty")), ("0:00".to_string(), "136,1".to_string()));
    let half_a_minute = 30 * ticks_per_second();
    let young =
        Process { started: uptime().saturating_sub(half_a_minute), sid: 1, pgid: 2, ..Process::default() };
    assert!(shown(&young, "etime").starts_with("0:3"), "{}", shown(&young, "etime"));
    assert_eq!([shown(&young, "tty"), shown(&young, "sid"), shown(&young, "pgid")], ["?", "1", "2"]);
}

#[test]
fn rows_stand_under_their_titles() {
    let line = |values: [&str; 4], right| {
        let widths = [5, 8, 5, 27];
        let cells =
            values.iter().enumerate().map(|(i, v)| pad_cell(v, widths[i], right && i % 2 == 0, i == 3));
        cells.collect::<String>()
    };
    assert_eq!(line(["PID", "USER", "TIME", "COMMAND"], false), "PID   USER     TIME  COMMAND");
    assert_eq!(line(["1", "root", "0:00", "sleep 9"], true), "    1 root      0:00 sleep 9");
}

/// As busybox cuts them: what stands behind them stays under its title.
#[test]
fn names_of_users_are_cut_off_at_their_column() {
    let users = BTreeMap::from([(101, "messagebus".to_string())]);
    let process = Process { pid: 7, uid: 101, args: "d".into(), ..Process::default() };
    let columns = ps_columns(&[]).unwrap();
    let table = ps_text(&columns, std::slice::from_ref(&process), &users, &BTreeMap::new());
    assert_eq!(table, "PID   USER     TIME  COMMAND\n    7 messageb  0:00 d\n");
    // A number without a name, which `top` would look up on this machine.
    let process = Process { uid: 4_000_000_001, ..process };
    let moment = Instant::now();
    let sample = || (vec![process.clone()], vec![0; 7], moment);
    let text = top_text(&sample(), &sample());
    assert!(text.lines().any(|row| row.starts_with("    7     0 40000000 ")), "{text}");
}

#[test]
fn options_that_choose_processes_are_refused() {
    let columns = |line: &str| ps_columns(&line.split_whitespace().map(String::from).collect::<Vec<_>>());
    for fine in ["", "aux", "-ef", "-A", "-aux", "-o pid,comm", "-opid -o args", "-w", "axo pid"] {
        assert!(columns(fine).is_ok(), "{fine}");
    }
    for (wrong, message) in [
        ("-p 1", "invalid option -- 'p'"),
        ("-C sh", "invalid option -- 'C'"),
        ("-u root", "invalid option -- 'u'"),
        ("-q 1", "invalid option -- 'q'"),
        ("1", "invalid option -- '1'"),
        ("-o", "option requires"),
        ("-eo", "option requires"),
        ("-eo pid,x", "bad -o argument 'x'"),
        ("-po pid", "invalid option -- 'p'"),
        ("-o pid,x", "bad -o argument 'x'"),
    ] {
        assert!(columns(wrong).unwrap_err().starts_with(message), "{wrong}");
    }
}

#[test]
fn titles_may_be_given_and_taken_away() {
    let process = Process { pid: 7, comm: "web".into(), ..Process::default() };
    let table = |list: &str| {
        let columns = ps_columns(&["-o".to_string(), list.to_string()]).unwrap();
        ps_text(&columns, std::slice::from_ref(&process), &BTreeMap::new(), &BTreeMap::new())
    };
    assert_eq!(table("pid,comm"), "PID   COMMAND\n    7 web\n");
    assert_eq!(table("pid=,comm="), "    7 web\n");
    assert_eq!(table("pid=,comm"), "      COMMAND\n    7 web\n");
    assert_eq!(table("pid,comm=A,B"), "PID   A,B\n    7 web\n");
    assert_eq!(table("comm,pid"), "COMMAND          PID\nweb                  7\n");
    assert_eq!(table("pid="), "    7\n");
}

#[test]
fn a_list_of_columns_may_follow_other_letters() {
    let names = |line: &str| {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        ps_columns(&words).unwrap().iter().map(|column| column.name).collect::<Vec<_>>()
    };
    for line in ["-o pid,args", "-eo pid,args", "-efopid,args", "axo pid -o args"] {
        assert_eq!(names(line), ["pid", "args"], "{line}");
    }
}

#[test]
fn options_of_top_and_free_are_carried_out_or_refused() {
    let words = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>();
    let top = |batch, count, seconds| Some(Top { batch, count, delay: Duration::from_secs_f64(seconds) });
    for (line, meant) in [
        ("", top(false, None, 5.0)),
        ("-bn1", top(true, Some(1), 5.0)),
        ("-b -n 2 -d 0.5", top(true, Some(2), 0.5)),
        ("-bd1 -n2", top(true, Some(2), 1.0)),
        ("-bn 3", top(true, Some(3), 5.0)),
        ("-bnx", None),
        ("-bn", None),
        ("-n x", None),
        ("-d -1", None),
        ("-d nan", None),
        ("-bx", None),
        ("-", None),
        ("1", None),
    ] {
        assert_eq!(top_options(&words(line)), meant, "{line}");
    }
    for (line, unit) in
        [("", Some('k')), ("-m", Some('m')), ("-h", Some('h')), ("-x", None), ("-m -s 2", None)]
    {
        assert_eq!(free_unit(&words(line)), unit, "{line}");
    }
}

#[test]
fn a_size_has_room_in_five_letters() {
    for (kb, shown) in [
        (99_999, "99999"),
        (100_000, "97.6m"),
        (451_628, "441m"),
        (10_000_000, "9765m"),
        (12_000_000, "11.4g"),
        (200_000_000, "190g"),
    ] {
        assert_eq!(format_memory(kb), shown);
    }
}

/// As busybox 1.35 prints them.
#[test]
fn memory_is_rounded() {
    let line = |kb: u64, unit| {
        let text = free_text(&BTreeMap::from([("SwapTotal".to_string(), kb)]), unit);
        text.lines().last().and_then(|row| row.split_whitespace().nth(1)).map(String::from)
    };
    for (kb, unit, shown) in [
        (24_684_084, 'm', "24106"),
        (24_684_084, 'g', "24"),
        (24_684_084, 'h', "23.5G"),
        (8_872, 'h', "8.7M"),
        (512, 'h', "512.0K"),
        (2_047, 'h', "2.0M"),
        (0, 'h', "0"),
    ] {
        assert_eq!(line(kb, unit).as_deref(), Some(shown), "{kb} {unit}");
    }
}

#[test]
fn top_lists_the_process_first_that_has_used_most_since_the_look_before() {
    let process = |pid, ticks| Process { pid, ticks, args: format!("p{pid}"), ..Process::default() };
    let begun = Instant::now();
    let before = (vec![process(1, 0), process(2, 0)], vec![0; 7], begun);
    let processes = vec![process(1, 1), process(2, 50), process(3, 900)];
    let now = (processes, vec![10; 7], begun + Duration::from_secs(1));
    let text = top_text(&before, &now);
    let pids: Vec<&str> = text.lines().skip(4).filter_map(|row| row.split_whitespace().next()).collect();
    assert_eq!(pids, ["2", "1", "3"], "what a new one used before is not known: {text}");
}

#[test]
fn this_process_is_found() {
    let own = std::process::id() as i32;
    assert!(read_all().iter().any(|p| p.pid == own && p.ppid > 0 && !p.args.is_empty()));
    let memory = parse_memory("MemTotal: 2048 kB\nMemFree: 1024 kB\nCached: 24 kB\n");
    assert!(free_text(&memory, 'k').contains("Mem:           2048        1000        1024"));
}

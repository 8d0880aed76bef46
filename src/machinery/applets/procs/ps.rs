//! `ps`: a table of all processes, with columns of the user's choice.

use super::print_text;
use super::process::{
    Process, format_ticks, group_names, name_or_number, page_kb, read_all, uptime, user_names,
};
use std::collections::BTreeMap;
use std::ffi::OsString;

/// A column of `ps`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub name: &'static str,
    pub title: String,
    pub width: usize,
}

impl Column {
    /// `NAME` or `NAME=TITLE`.
    fn parse(text: &str) -> Result<Column, String> {
        let (name, own) = match text.split_once('=') {
            Some((name, own)) => (name, Some(own)),
            None => (text, None),
        };
        let Some((name, title, width)) = COLUMNS.iter().find(|column| column.0 == name) else {
            let known = COLUMNS.map(|column| column.0).join(",");
            return Err(format!("bad -o argument '{name}', supported arguments: {known}"));
        };
        let title = own.unwrap_or(title).to_string();
        Ok(Column { name, width: (*width).max(title.len()), title })
    }
}

/// What busybox and procps take as one letter and what changes nothing here: all processes are
/// shown anyway, one line each.
const PS_LETTERS: &str = "aAdeflTwx";

/// Returns the columns that `ps` shall show.
///
/// # Errors
/// An unknown column, or an option that would choose among the processes.
pub(super) fn ps_columns(args: &[String]) -> Result<Vec<Column>, String> {
    let mut columns = Vec::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let letters = word.strip_prefix('-').unwrap_or(word);
        // `-eo LIST` is `-e -o LIST`: behind the `o` stands its list.
        let (letters, list) =
            letters.split_once('o').map_or((letters, None), |(letters, list)| (letters, Some(list)));
        // `ps aux` and `ps -aux`; `-u USER` alone would choose.
        let of_bsd = !word.starts_with('-') || letters.contains('a') && letters.contains('x');
        let known = |c: &char| PS_LETTERS.contains(*c) || of_bsd && *c == 'u';
        if let Some(letter) = letters.chars().find(|letter| !known(letter)) {
            return Err(format!("invalid option -- '{letter}'\nUsage: ps [-o COLUMN,...]"));
        }
        let mut list = match list {
            None => continue,
            Some("") => words.next().ok_or("option requires an argument -- 'o'")?.as_str(),
            Some(list) => list,
        };
        while !list.is_empty() {
            // A title of one's own goes to the end of the word, commas and all.
            let titled = list.split_once('=').is_some_and(|(name, title)| {
                !name.contains(',') && !title.is_empty() && !title.starts_with(',')
            });
            let (column, rest) = if titled { (list, "") } else { list.split_once(',').unwrap_or((list, "")) };
            columns.push(Column::parse(column)?);
            list = rest;
        }
    }
    if columns.is_empty() {
        columns = ["pid", "user", "time", "args"].into_iter().map(Column::parse).collect::<Result<_, _>>()?;
    }
    Ok(columns)
}

/// `ps [-o COLUMN[=TITLE],…]`: all processes, as busybox prints them.
pub(crate) fn ps(args: Vec<OsString>) -> i32 {
    let args = crate::arguments_as_text(args);
    match ps_columns(&args) {
        Ok(columns) => print_text(&ps_text(&columns, &read_all(), &user_names(), &group_names())),
        Err(what) => {
            eprintln!("ps: {what}");
            1
        }
    }
}

/// Returns the table. Without any title it has no line of titles. As in busybox, a name of a user
/// or a group is cut off at its column's width.
pub(super) fn ps_text(
    columns: &[Column],
    processes: &[Process],
    users: &BTreeMap<u32, String>,
    groups: &BTreeMap<u32, String>,
) -> String {
    let mut text = String::new();
    let last = |nth: usize| nth + 1 == columns.len();
    if columns.iter().any(|column| !column.title.is_empty()) {
        for (nth, column) in columns.iter().enumerate() {
            text += &pad_cell(&column.title, column.width, false, last(nth));
        }
        text.push('\n');
    }
    for process in processes {
        for (nth, column) in columns.iter().enumerate() {
            let right = !matches!(
                column.name,
                "user" | "group" | "ruser" | "rgroup" | "tty" | "stat" | "comm" | "args"
            );
            let mut shown = column_value(process, column.name, users, groups);
            if matches!(column.name, "user" | "group" | "ruser" | "rgroup") {
                shown = shown.chars().take(column.width).collect();
            }
            text += &pad_cell(&shown, column.width, right, last(nth));
        }
        text.push('\n');
    }
    text
}

pub(super) fn pad_cell(text: &str, width: usize, right: bool, last: bool) -> String {
    match (last, right) {
        (true, true) => format!("{text:>width$}"),
        (true, false) => text.to_string(),
        (false, true) => format!("{text:>width$} "),
        (false, false) => format!("{text:<width$} "),
    }
}

const COLUMNS: [(&str, &str, usize); 17] = [
    ("pid", "PID", 5),
    ("ppid", "PPID", 5),
    ("pgid", "PGID", 5),
    ("sid", "SID", 5),
    ("tty", "TT", 6),
    ("user", "USER", 8),
    ("group", "GROUP", 8),
    ("ruser", "RUSER", 8),
    ("rgroup", "RGROUP", 8),
    ("etime", "ELAPSED", 7),
    ("time", "TIME", 5),
    ("stat", "STAT", 4),
    ("vsz", "VSZ", 6),
    ("rss", "RSS", 6),
    ("nice", "NI", 3),
    ("comm", "COMMAND", 16),
    ("args", "COMMAND", 27),
];

/// Returns what stands in a column of a process.
pub(super) fn column_value(
    process: &Process,
    column: &str,
    users: &BTreeMap<u32, String>,
    groups: &BTreeMap<u32, String>,
) -> String {
    match column {
        "pid" => process.pid.to_string(),
        "ppid" => process.ppid.to_string(),
        "pgid" => process.pgid.to_string(),
        "sid" => process.sid.to_string(),
        "tty" => format_tty(process.tty),
        "etime" => format_ticks(uptime().saturating_sub(process.started)),
        "user" => name_or_number(users, process.uid),
        "group" => name_or_number(groups, process.gid),
        "ruser" => name_or_number(users, process.ruid),
        "rgroup" => name_or_number(groups, process.rgid),
        "time" => format_ticks(process.ticks),
        "stat" => process.state.clone(),
        "vsz" => (process.size / 1024).to_string(),
        "rss" => (process.resident * page_kb()).to_string(),
        "nice" => process.nice.to_string(),
        "comm" => process.comm.clone(),
        _ => process.args.clone(),
    }
}

/// Returns the major and the minor number of a terminal. Source: proc(5), `tty_nr`.
fn format_tty(number: u64) -> String {
    let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00);
    if number == 0 { "?".into() } else { format!("{major},{minor}") }
}

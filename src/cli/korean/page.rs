//! A page of the help in Korean, laid out as clap lays out its own.

use super::table;
use clap::Command;
use std::fmt::Write;
use unicode_width::UnicodeWidthStr;

/// Columns before a name, and between a name and its text.
const GAP: usize = 2;
/// Columns before a text that stands below its name.
const BELOW: usize = 10;

/// A name, and the paragraphs that explain it.
type Row = (String, Vec<String>);

/// Writes the help of a command that was built (`Command::build`).
pub(super) fn render(command: &mut Command, path: &str, width: usize) -> String {
    let heading = *command.get_styles().get_header();
    let page = table::page(path);
    let usage = usage(&command.render_usage().to_string());
    let about = page.map_or("", |page| page.about);
    let mut out = format!("{}\n\n{usage}\n", wrap(about, width).join("\n"));
    for (title, rows) in [
        ("명령", commands(command, path)),
        ("인자", positionals(command, path)),
        ("옵션", options(command, path)),
    ] {
        if !rows.is_empty() {
            let _ = write!(out, "\n{heading}{title}:{heading:#}\n{}", columns(&rows, width));
        }
    }
    if let Some(page) = page.filter(|page| !page.after.is_empty()) {
        let _ = write!(out, "\n{}", page.after.trim_end());
    }
    out
}

/// Translates clap's line `Usage: ropewalk up [OPTIONS]`, and the lines below it.
pub(super) fn usage(english: &str) -> String {
    const TITLE: &str = "사용법: ";
    let text = english.trim().trim_start_matches("Usage:");
    let text =
        text.replace("[OPTIONS]", "[옵션]").replace("<COMMAND>", "<명령>").replace("[COMMAND]", "[명령]");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    format!("{TITLE}{}", lines.join(&format!("\n{}", " ".repeat(TITLE.width()))))
}

/// Returns the subcommands, each with its sentence.
fn commands(command: &Command, path: &str) -> Vec<Row> {
    // Subcommands of `help` are the same commands once more.
    let mut all: Vec<&Command> = match command.get_name() {
        "help" => Vec::new(),
        _ => command.get_subcommands().filter(|sub| !sub.is_hide_set()).collect(),
    };
    all.sort_by_key(|sub| sub.get_display_order());
    let about = |sub: &Command| table::page(&super::join(path, sub.get_name())).map_or("", |page| page.about);
    all.into_iter().map(|sub| (sub.get_name().into(), vec![about(sub).into()])).collect()
}

/// Returns the arguments without a name, in their order.
fn positionals(command: &Command, path: &str) -> Vec<Row> {
    let positionals = command.get_positionals().filter(|argument| !argument.is_hide_set());
    positionals.map(|argument| (argument.to_string(), explained(argument, path))).collect()
}

/// Returns the options, in the order of the English page.
fn options(command: &Command, path: &str) -> Vec<Row> {
    let mut all: Vec<&clap::Arg> = command
        .get_arguments()
        .filter(|argument| !argument.is_positional() && !argument.is_hide_set())
        .collect();
    all.sort_by_key(|argument| argument.get_display_order());
    let row = |argument: &clap::Arg| {
        let name = match (argument.get_short(), argument.get_long()) {
            (Some(short), Some(_)) => format!("-{short}, {argument}"),
            (None, _) => format!("    {argument}"),
            (Some(_), None) => argument.to_string(),
        };
        (name, explained(argument, path))
    };
    all.into_iter().map(row).collect()
}

/// Returns the paragraphs about an argument: its text with its default, and its values.
fn explained(argument: &clap::Arg, path: &str) -> Vec<String> {
    let Some((_, text)) = table::argument(path, argument.get_id().as_str()) else { return Vec::new() };
    let mut head = text.help.to_string();
    let defaults: Vec<_> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        let _ = write!(head, " [기본값: {}]", defaults.join(" "));
    }
    let values = argument.get_possible_values();
    let names: Vec<&str> =
        values.iter().filter(|value| !value.is_hide_set()).map(|value| value.get_name()).collect();
    let mut paragraphs = Vec::new();
    if text.values.is_empty() && !names.is_empty() {
        let _ = write!(head, " [쓸 수 있는 값: {}]", names.join(", "));
    } else {
        for name in names {
            let help = text.values.iter().find(|(value, _)| *value == name);
            paragraphs
                .push(help.map_or_else(|| format!("- {name}"), |(_, help)| format!("- {name}: {help}")));
        }
    }
    paragraphs.insert(0, head);
    paragraphs
}

/// Lays out names and texts in two columns; where the names are wide, the texts stand below them.
fn columns(rows: &[Row], width: usize) -> String {
    let widest = rows.iter().map(|(name, _)| name.width()).max().unwrap_or_default();
    let beside = 2 * GAP + widest;
    let fits = beside * 5 <= width * 2;
    let indent = if fits { beside } else { BELOW };
    let mut out = String::new();
    for (name, paragraphs) in rows {
        let pad =
            if fits { " ".repeat(GAP + widest - name.width()) } else { format!("\n{}", " ".repeat(BELOW)) };
        let lines: Vec<String> =
            paragraphs.iter().flat_map(|text| wrap(text, width.saturating_sub(indent))).collect();
        let text = lines.join(&format!("\n{}", " ".repeat(indent)));
        out.push_str(format!("{:GAP$}{name}{pad}{text}", "").trim_end());
        out.push('\n');
    }
    out
}

/// Breaks a text between words; a letter of Hangul takes two columns.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.width() + 1 + word.width() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.into());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hangul_takes_two_columns() {
        assert_eq!(wrap("파드를 만들고 기다립니다", 13), ["파드를 만들고", "기다립니다"]);
        assert_eq!(wrap("파드를 만들고", 12), ["파드를", "만들고"]);
        assert_eq!(wrap("", 10), [""]);
        let rows = [("이름".to_string(), vec!["짧음".to_string()]), ("ab".into(), vec!["둘".into()])];
        assert_eq!(columns(&rows, 80), "  이름  짧음\n  ab    둘\n");
        assert_eq!(columns(&rows, 15), "  이름\n          짧음\n  ab\n          둘\n");
    }

    #[test]
    fn the_lines_of_a_usage_stay_below_each_other() {
        let english = "Usage: ropewalk [OPTIONS]\n       ropewalk <COMMAND>";
        assert_eq!(usage(english), "사용법: ropewalk [옵션]\n        ropewalk <명령>");
    }
}

//! The Korean help covers the table of commands, and each kind of error is written in Korean.

use super::*;
use crate::args::behind_the_subcommand;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStringExt;
use unicode_width::UnicodeWidthStr;

/// Visits a command and its subcommands, without hidden ones and those that `help` repeats.
fn visit(command: &Command, path: &str, see: &mut dyn FnMut(&Command, &str)) {
    see(command, path);
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        visit(sub, &join(path, sub.get_name()), see);
    }
}

fn english() -> Command {
    let mut command = Args::command();
    command.build();
    command
}

fn words(line: &str) -> Vec<OsString> {
    behind_the_subcommand(["ropewalk"].into_iter().chain(line.split(' ')).map(OsString::from).collect())
}

/// The page of `--help` for a command line without it.
fn page_of(path: &str) -> String {
    let path = if path == PROGRAM { String::new() } else { format!("{path} ") };
    let error = error(&words(&format!("{path}--help")), WIDEST).expect("help is an error to clap");
    assert_eq!((error.kind(), error.exit_code()), (ErrorKind::DisplayHelp, 0), "{path}");
    error.to_string()
}

/// What the table lacks for an argument.
fn lacks(argument: &clap::Arg, text: &table::Argument) -> Option<&'static str> {
    let values = argument.get_possible_values();
    let has = |name: &str| text.values.iter().any(|(value, _)| *value == name);
    if argument.get_action().takes_values() != text.value.is_some() {
        return Some("a value has a name, a flag has none");
    }
    if values.iter().any(|value| value.get_help().is_some() && !has(value.get_name())) {
        return Some("a value is explained in English only");
    }
    let known = |name: &str| values.iter().any(|value| value.get_name() == name);
    text.values.iter().any(|(name, _)| !known(name)).then_some("an explained value is not taken")
}

#[test]
fn every_command_and_argument_has_a_korean_text_and_none_is_left_over() {
    let mut wrong: Vec<String> = table::table().unread.iter().map(|line| format!("unread: {line}")).collect();
    let mut used = BTreeSet::from([("*", ""), ("help", "")]);
    let mut count = 0;
    visit(&english(), PROGRAM, &mut |command: &Command, path: &str| {
        count += 1;
        match table::page(path) {
            Some(page) if !page.about.is_empty() => {
                used.insert((page.path, ""));
                if page.after.is_empty() != command.get_after_help().is_none() {
                    wrong.push(format!("{path}: examples in one language only"));
                }
            }
            _ => wrong.push(format!("{path}: no Korean page")),
        }
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let id = argument.get_id().as_str();
            let Some((page, text)) = table::argument(path, id) else {
                wrong.push(format!("{path}: no Korean text for {id}"));
                continue;
            };
            used.insert((page, text.id));
            wrong.extend(lacks(argument, text).map(|why| format!("{path}: {id}: {why}")));
        }
    });
    for page in &table::table().pages {
        let ids = page.arguments.iter().map(|argument| argument.id);
        let unused = ids.chain([""]).filter(|id| !used.contains(&(page.path, *id)));
        wrong.extend(unused.map(|id| format!("[{}] {id}: no command has it", page.path)));
    }
    assert!(wrong.is_empty(), "help.ko.txt:\n{}", wrong.join("\n"));
    assert!(count > 50, "only {count} commands were seen");
}

#[test]
fn no_page_of_the_korean_help_has_english_sentences() {
    const OF_CLAP: &[&str] = &[
        "Usage:",
        "Options:",
        "Commands:",
        "Arguments:",
        "[OPTIONS]",
        "COMMAND",
        "[default",
        "[possible",
        "Possible values",
        "Print ",
        "Examples:",
    ];
    visit(&english(), PROGRAM, &mut |command: &Command, path: &str| {
        if ["kubectl", "etcdctl"].contains(&path) {
            return; // their `--help` is their own; `help kubectl` is tested below
        }
        let page = page_of(path);
        let text = page.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut foreign: Vec<String> = OF_CLAP.iter().map(|part| part.to_string()).collect();
        foreign.extend(command.get_about().map(|about| about.to_string()));
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            foreign.extend(argument.get_help().map(|help| help.to_string()));
            let values = argument.get_possible_values();
            foreign.extend(values.iter().filter_map(|value| value.get_help()).map(|help| help.to_string()));
        }
        for sub in command.get_subcommands() {
            foreign.extend(sub.get_about().map(|about| about.to_string()));
        }
        for part in foreign {
            assert!(!text.contains(&part), "{path}: {part:?} in\n{page}");
        }
        let usage: String = if path == PROGRAM {
            "사용법: ropewalk".into()
        } else {
            format!("사용법: ropewalk {path}")
        };
        assert!(page.contains(&usage), "{page}");
        for line in page.lines() {
            assert!(line.width() <= WIDEST, "{path}: {} columns: {line}", line.width());
        }
    });
}

#[test]
fn a_page_has_the_parts_of_the_english_one() {
    let page = page_of("lab show");
    for part in [
        "사용법: ropewalk lab show [옵션] [실습]\n",
        "\n인자:\n  [실습]  실습의 ID",
        "\n옵션:\n",
        "      --seed <시드>",
        "  -o, --output <형식>",
        "[쓸 수 있는 값: json]",
        "[기본값: main]",
        "  -h, --help",
    ] {
        assert!(page.contains(part), "{part:?} is not in\n{page}");
    }
    let bench = page_of("bench");
    assert!(bench.contains("- network: NodePort와"), "{bench}");
    assert!(!bench.contains("inside"), "a hidden option:\n{bench}");
}

#[test]
fn help_is_korean_however_it_is_asked_for() {
    for (line, kind, part) in [
        ("help", ErrorKind::DisplayHelp, "사용법: ropewalk"),
        ("help up", ErrorKind::DisplayHelp, "사용법: ropewalk up"),
        ("up -h", ErrorKind::DisplayHelp, "클러스터를 시작합니다"),
        ("help kubectl", ErrorKind::DisplayHelp, "내장된 kubectl"),
        ("help etcdctl", ErrorKind::DisplayHelp, "내장된 etcdctl"),
        ("lab help start", ErrorKind::DisplayHelp, "사용법: ropewalk lab start"),
        ("help help", ErrorKind::DisplayHelp, "하위 명령의 도움말을 출력합니다"),
        ("lab", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, "사용법: ropewalk lab"),
    ] {
        let error = error(&words(line), WIDEST).unwrap();
        let page = error.to_string();
        assert!(error.kind() == kind && page.contains(part) && page.contains("사용법"), "{line}: {page}");
        assert_eq!(text(&error), None, "{line}: the page is the whole answer");
    }
}

/// Returns the Korean message for a line; its kind and exit code are those of the English one.
fn message_for(words: &[OsString]) -> (ErrorKind, String) {
    let english = Args::command().try_get_matches_from(words).unwrap_err();
    let korean = error(words, WIDEST).unwrap();
    assert_eq!((korean.kind(), korean.exit_code()), (english.kind(), 2), "{words:?}");
    assert!(korean.use_stderr());
    let text = text(&korean).unwrap_or_else(|| panic!("{words:?}: {:?} has no Korean", korean.kind()));
    for part in ["error:", "tip:", "Usage", "OPTIONS", "COMMAND", " is ", "the ", "try "] {
        assert!(!text.contains(part), "{part:?} in\n{text}");
    }
    (korean.kind(), text)
}

#[test]
fn errors_of_every_kind_are_written_in_korean() {
    use ErrorKind::*;
    for (line, kind, parts) in [
        (
            "upp",
            InvalidSubcommand,
            &["하위 명령입니다: 'upp'", "비슷한 하위 명령: 'up'", "        ropewalk <명령>"][..],
        ),
        ("lab star", InvalidSubcommand, &["'star'", "'start'", "사용법: ropewalk lab [옵션] <명령>"]),
        ("help nope", InvalidSubcommand, &["'nope'"]),
        ("up --nodes 3", UnknownArgument, &["인자입니다: '--nodes'", "비슷한 인자: '--node-ports'"]),
        ("up extra", UnknownArgument, &["'extra'", "사용법: ropewalk up [옵션]"]),
        ("lab -- list", UnknownArgument, &["'list' 하위 명령을 쓰려면"]),
        ("rewind -5m", UnknownArgument, &["'-5' 자체를 값으로 쓰려면: '-- -5'"]),
        (
            "bench networks",
            InvalidValue,
            &["'networks' 값을", "[쓸 수 있는 값: start, pods", "비슷한 값: 'network'"],
        ),
        ("--lang de status", InvalidValue, &["'--lang <언어>'에 'de'", "en, ko"]),
        ("up --name", InvalidValue, &["'--name <이름>'에 값이 필요합니다"]),
        ("up --workers many", ValueValidation, &["'--workers <개수>'에 'many' 값을", "정수를 쓰세요"]),
        ("up --workers 300", ValueValidation, &["0 이상 ", " 이하의 수를 쓰세요"]),
        ("drill --seed 0", ValueValidation, &["1 이상의 수를 쓰세요"]),
        ("up --workers 99999999999999999999", ValueValidation, &["너무 큰 수입니다"]),
        ("up --node-ports 9-1", ValueValidation, &["처음(9)이 끝(1)보다 큽니다"]),
        ("up --node-ports 9", ValueValidation, &["처음-끝 형식"]),
        ("up --node-ports x-9", ValueValidation, &["포트 번호를 읽을 수 없습니다"]),
        ("up --node-ports 0-9", ValueValidation, &["1부터"]),
        ("up --etcd https://a:b@c", ValueValidation, &["사용자와 비밀번호"]),
        ("up --etcd a,,b", ValueValidation, &["URL을 쓰세요"]),
        ("fault loss a b NaN", ValueValidation, &["0에서 100까지의 수"]),
        ("lesson test --part x", ValueValidation, &["K번째부터"]),
        ("fault loss a", MissingRequiredArgument, &["빠졌습니다:\n  <노드2>\n  <퍼센트>\n"]),
        ("up --wait", MissingRequiredArgument, &["빠졌습니다:\n  --detach\n"]),
        ("lab --name x", MissingSubcommand, &["'ropewalk lab' 뒤에", "[하위 명령: list, show"]),
        ("undo 2 --list", ArgumentConflict, &["'[횟수]' 인자는 다음 인자와", "\n  --list"]),
        ("up --detach --detach", ArgumentConflict, &["'--detach' 인자는 한 번만"]),
        ("--plain status", ArgumentConflict, &["'status' 하위 명령은 다음", "\n  --plain"]),
        ("why a b c", TooManyValues, &["넘었습니다: 'c'"]),
    ] {
        let (found, text) = message_for(&words(line));
        assert_eq!(found, kind, "{line}");
        for part in parts {
            assert!(text.contains(part), "{line}: {part:?} is not in\n{text}");
        }
        assert!(
            text.starts_with("오류: ") && text.ends_with("'--help'로 볼 수 있습니다.\n"),
            "{line}: {text}"
        );
    }
    let odd = ["ropewalk".into(), "up".into(), "--name".into(), OsString::from_vec(vec![255])];
    let (kind, text) = message_for(&odd);
    assert!(kind == InvalidUtf8 && text.contains("UTF-8이 아닌 인자"), "{text}");
}

/// No command has such an argument yet.
#[test]
fn errors_about_the_number_of_values_are_written_in_korean() {
    let message = |kind, counts: &[(ContextKind, isize)]| {
        let mut error = clap::Error::new(kind);
        error.insert(ContextKind::InvalidArg, ContextValue::String("--at <점>".into()));
        for (about, count) in counts {
            error.insert(*about, ContextValue::Number(*count));
        }
        text(&error).unwrap_or_default()
    };
    use ContextKind::{ActualNumValues, ExpectedNumValues, MinValues};
    let few = message(ErrorKind::TooFewValues, &[(MinValues, 2), (ActualNumValues, 1)]);
    assert!(few.contains("'--at <점>'에는 값이 2개 이상 필요하지만 1개가"), "{few}");
    let other = message(ErrorKind::WrongNumberOfValues, &[(ExpectedNumValues, 3), (ActualNumValues, 4)]);
    assert!(other.contains("값이 3개 필요하지만 4개가"), "{other}");
    assert!(message(ErrorKind::NoEquals, &[]).contains("등호(=)"));
}

#[test]
fn the_language_is_found_in_a_line_that_is_wrong() {
    let asked = |line: &str| asked_language(&words(line));
    for line in
        ["--lang ko upp", "upp --lang ko", "up --workers many --lang=ko", "--lang ko", "lab --lang ko --help"]
    {
        assert_eq!(asked(line), Some(Lang::Ko), "{line}");
    }
    assert_eq!(asked("up --lang en --help"), Some(Lang::En));
    for line in ["--name kubectl --lang ko --nope", "--api-port etcdctl --name=kubectl --lang=ko"] {
        assert_eq!(asked(line), Some(Lang::Ko), "{line}: the word is an option's value");
    }
    assert_eq!(asked("--name main kubectl get --lang ko"), None, "the word is kubectl's");
    for line in
        ["upp", "up --lang", "up --lang de", "up -- --lang ko", "kubectl get --lang ko", "--language ko"]
    {
        assert_eq!(asked(line), None, "{line}");
    }
    let as_it_came = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
    for line in ["help kubectl --lang ko", "help etcdctl --lang=ko", "what kubectl --lang ko --nope"] {
        let asked = asked_language(&as_it_came(&format!("ropewalk {line}")));
        assert_eq!(asked, Some(Lang::Ko), "{line}: the word is no command here");
    }
}

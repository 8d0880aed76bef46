use super::*;
use std::process::Command;

/// Returns the surroundings of a shell that runs none of its tools.
fn surroundings() -> Surroundings<'static> {
    Surroundings {
        program: Path::new("/bin/true"),
        cluster: "main",
        home: Path::new("/home/it's"),
        kubeconfig: Path::new("/config"),
        bin: Path::new("/none"),
        spare: Path::new("/none"),
    }
}

#[test]
fn a_quoted_word_comes_out_of_a_shell_as_it_went_in() {
    let nasty = "it's $HOME `x` \"q\" \\ *\nend";
    let out = Command::new("/bin/sh").args(["-c", &format!("printf %s {}", quote(nasty))]).output().unwrap();
    assert_eq!(String::from_utf8(out.stdout).unwrap(), nasty);
}

/// A shell that waits for a line would end after TMOUT seconds (bash(1)). Beside the address of
/// an API server kubectl would not ask for the namespace `default`.
#[test]
fn a_shell_waits_for_the_next_line_for_as_long_as_it_takes() {
    for (shell, before, kept) in
        [("/bin/bash", "", "none"), ("/bin/sh", "", "none"), ("/bin/bash", "readonly TMOUT", "300")]
    {
        let dialect = Dialect::of(Path::new(shell)).unwrap();
        let preparation = dialect.preparation(&surroundings(), "t", false);
        let told = "echo ${TMOUT-none} ${KUBERNETES_SERVICE_HOST-none} $KUBECONFIG";
        let text = format!("exec 8>&2\n{before}\n{preparation}{told}\n");
        let mut ran = Command::new(shell);
        ran.args(["-c", &text]).env("TMOUT", "300").env("KUBERNETES_SERVICE_HOST", "10.96.0.1");
        let ran = ran.output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert_eq!(said.trim(), format!("{kept} none /config"), "{shell} {before}");
    }
}

/// POSIX, XCU 2.15, `set -e`: only what the learner's own line does ends the shell.
#[test]
fn a_code_from_elsewhere_ends_no_shell_that_ends_at_failures() {
    for (shell, dialect) in [("/bin/bash", Dialect::Bash), ("/bin/sh", Dialect::Posix)] {
        let run = |text: &str| {
            let functions = dialect.functions("t", false);
            let text = format!("exec 7</dev/null 8>/dev/null; {functions}\nset -e\n{text}echo end\n");
            let ran = Command::new(shell).args(["-c", &text]).output().unwrap();
            String::from_utf8_lossy(&ran.stdout).lines().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(run(&dialect.order("echo code $?", 1, 130, false)), "code 130 end", "{shell}");
        assert_eq!(run(&dialect.order("false; echo on", 1, 130, false)), "", "{shell}");
        assert_eq!(run(&format!("! true\n{}", question(1))), "end", "{shell}");
    }
}

/// Runs these lines in a shell, each as an order, and returns what they print and the shell's
/// end. Reports of shells without a terminal are among it; the others have no prompt here.
fn run_orders(shell: &str, terminal: bool, lines: &[&str]) -> (String, Option<i32>) {
    let dialect = Dialect::of(Path::new(shell)).unwrap();
    let eighth = if terminal { "&2" } else { "&1" };
    let mut text = format!("exec 7</dev/null 8>{eighth}; {}\n", dialect.functions("t", terminal));
    for (line, number) in lines.iter().zip(1..) {
        text.push_str(&dialect.order(line, number, 0, terminal));
    }
    let ran = Command::new(shell).args(["-c", &text]).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    (said.split_whitespace().collect::<Vec<_>>().join(" "), ran.status.code())
}

/// POSIX, XCU 2.15, `set -e`: a failure that an and-list or `!` excuses ends no shell.
#[test]
fn a_failure_that_the_shell_excuses_does_not_end_it() {
    for shell in ["/bin/bash", "/bin/sh"] {
        let lines = ["set -e", "[ -f /nonexistent ] && echo there", "! true", "echo on", "false", "echo no"];
        let reported = "[t:1:0][t:2:1][t:3:1]on [t:4:0]";
        assert_eq!(run_orders(shell, false, &lines), (reported.into(), Some(1)), "{shell}");
        assert_eq!(run_orders(shell, true, &lines), ("on".into(), Some(1)), "{shell}");
    }
}

#[test]
fn a_script_ends_at_a_line_that_its_shell_refuses() {
    for shell in ["/bin/bash", "/bin/sh"] {
        let lines = ["trap 'echo end' EXIT; printf() { :; }", "if true; fi", "echo on"];
        assert_eq!(run_orders(shell, false, &lines), ("[t:1:0]end".into(), Some(2)), "{shell}");
    }
}

#[test]
fn a_line_may_begin_with_a_dash() {
    for shell in ["/bin/bash", "/bin/sh"] {
        let (said, code) = run_orders(shell, false, &["-n", "echo on"]);
        assert_eq!((said.as_str(), code), ("[t:1:127]on [t:2:0]", Some(0)), "{shell}");
    }
}

/// `mkdir shop`, and then `cd $_` (bash(1), Special Parameters).
#[test]
fn the_last_word_of_a_command_is_known_in_the_next_line() {
    let lines = [": one 'two words'", "echo \"<$_>\"", "false there", "echo $? $_"];
    assert_eq!(run_orders("/bin/bash", true, &lines), ("<two words> 0 there".into(), Some(0)));
    let reported = "[t:1:0]<two words> [t:2:0][t:3:1]0 there [t:4:0]";
    assert_eq!(run_orders("/bin/bash", false, &lines), (reported.into(), Some(0)));
}

/// dash has the `$_` of the environment alone.
#[test]
fn a_shell_without_a_last_word_goes_on_after_an_unset_variable_became_an_error() {
    for (shell, dialect) in [("/bin/bash", Dialect::Bash), ("/bin/sh", Dialect::Posix)] {
        let orders = dialect.order("set -u", 1, 0, false) + &dialect.order("echo on", 2, 0, false);
        let functions = dialect.functions("t", false);
        let text = format!("exec 7</dev/null 8>/dev/null; {functions}\n{orders}echo end\n");
        let ran = Command::new(shell).args(["-c", &text]).env_remove("_").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stdout), "on\nend\n", "{shell}");
    }
}

#[test]
fn a_trap_for_err_runs_once_for_each_failure() {
    let lines = ["set -E; trap 'echo E' ERR", "false", "false && true", "! true", "(exit 3)", "echo end"];
    assert_eq!(run_orders("/bin/bash", true, &lines), ("E E end".into(), Some(0)));
    let reported = "[t:1:0]E [t:2:1][t:3:1][t:4:1]E [t:5:3]end [t:6:0]";
    assert_eq!(run_orders("/bin/bash", false, &lines), (reported.into(), Some(0)));
}

/// flock(1) has this among its examples.
#[test]
fn a_lock_on_descriptor_9_is_held_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lock");
    let (open, show) = (format!("exec 9>{}", file.display()), format!("cat {}", file.display()));
    for (shell, terminal) in ["/bin/bash", "/bin/sh"].into_iter().flat_map(|s| [(s, false), (s, true)]) {
        let (said, code) = run_orders(shell, terminal, &[&open, "echo held >&9", &show]);
        assert!(said.contains("held") && code == Some(0), "{shell} {terminal}: {said}");
    }
}

#[test]
fn a_line_that_was_cut_off_has_nothing_of_ours_in_it() {
    for shell in ["/bin/bash", "/bin/sh"] {
        for (line, says) in
            [("cat <<EOF\na", "a"), ("echo a \\", "a \\"), ("# a \\", ""), ("echo a # b", "a")]
        {
            assert_eq!(run_orders(shell, true, &[line]), (says.into(), Some(0)), "{shell}: {line}");
        }
    }
}

/// `ROPEWALK_HOME=./h`, and then `cd`: programs of the shell find the same home.
#[test]
fn the_shell_exports_the_home_of_the_session() {
    for shell in ["/bin/bash", "/bin/sh"] {
        let preparation = Dialect::of(Path::new(shell)).unwrap().preparation(&surroundings(), "t", false);
        let text = format!("exec 8>&2\n{preparation}sh -c 'echo $ROPEWALK_HOME'\n");
        let ran = Command::new(shell).args(["-c", &text]).env("ROPEWALK_HOME", "./h").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stdout), "/home/it's\n", "{shell}");
    }
}

/// A tab in what the shell reads would ask bash's line editor for completion, and `set -o vi`
/// in a start file turns that on.
#[test]
fn bash_reads_our_commands_without_its_line_editor() {
    let text = Dialect::Bash.preparation(&surroundings(), "t", true);
    let first = text.lines().next().unwrap_or_default();
    assert!(first.contains("set +o emacs") && first.contains("set +o vi"), "a line of its own: {first}");
    assert!(first.contains("unset -v PROMPT_COMMAND") && first.ends_with("trap - DEBUG"), "{first}");
    assert!(!Dialect::Posix.preparation(&surroundings(), "t", true).contains("set +o"));
}

/// zshmisc(1): the function `precmd` and those in `precmd_functions` run before each prompt, so
/// each prompt of ours goes without them. So do notices of a job that stays stopped.
#[test]
fn no_hook_of_zsh_comes_after_the_prompt_is_set() {
    let functions = Dialect::Zsh.functions("t", true);
    let prompt = functions.split("__ropewalk_prompt() {").nth(1).unwrap().split("};").next().unwrap();
    let at = |what: &str| prompt.find(what).unwrap_or_else(|| panic!("{what} in {prompt}"));
    let set = at("PS1=\"[t:$1:$2]\"");
    for undone in [
        "precmd_functions=()",
        "preexec_functions=()",
        "unset -f precmd preexec 2>/dev/null || :",
        "setopt prompt_percent",
        "then setopt notify; else unsetopt notify",
    ] {
        assert!(at(undone) < set, "{undone}");
    }
    assert!(functions.contains("__ropewalk_begin() { { __ropewalk_prompt"), "also before a line");
}

/// The learner's `history` would list them, and one that all sessions share keep them: with the
/// option `histignorespace` a space in front keeps a line out (zshoptions(1)).
#[test]
fn zsh_keeps_none_of_our_commands_in_its_history() {
    let zsh = Dialect::Zsh;
    assert!(zsh.arguments(true, true).ends_with(&["-o", "histignorespace"]));
    let preparation = zsh.preparation(&surroundings(), "t", true);
    let typed = zsh.remember(&["ls".into()]);
    assert_eq!(typed, " __ropewalk_history 'ls'\n");
    let commands = [zsh.order("ls", 1, 0, true), question(1), ask_for_exports("f", 1), typed];
    for line in preparation.lines().chain(commands.iter().map(String::as_str)) {
        assert!(line.starts_with(' '), "{line}");
    }
}

#[test]
fn shells_of_another_grammar_are_not_driven() {
    assert_eq!(Dialect::of(Path::new("/usr/bin/zsh")), Some(Dialect::Zsh));
    assert_eq!(Dialect::of(Path::new("/usr/bin/fish")), None);
    assert_eq!(Dialect::of(Path::new("")), None);
}

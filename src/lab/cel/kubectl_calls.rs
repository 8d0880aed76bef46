//! Calls of kubectl that a typed line surely made, read by kubectl's own parser: every spelling of
//! a flag is the same flag, and a word that is the value of a flag or stands behind `echo`, in
//! quotes or in a comment is no call.

use super::commands::{self, Command};
use super::shell::SHELLS;
use super::value;
use cel::Value;
use kubectl::parse::{self, Parsed};
use kubectl::table;

/// A call of kubectl, and what it runs in a container.
pub(super) struct Call {
    parsed: Parsed,
    /// The commands behind `--`; of a shell with `-c` those of its script.
    inside: Vec<Command>,
}

impl Call {
    /// What expressions see of the call.
    pub(super) fn value(&self) -> Value {
        let parsed = &self.parsed;
        let own = parsed.args.get(..parsed.dash.unwrap_or(parsed.args.len())).unwrap_or_default();
        value::map([
            ("verb", value::text(parsed.verb.path)),
            ("args", value::list(own.iter().map(|arg| value::text(arg)).collect())),
            ("flags", value::map(parsed.flags.given().map(|(name, given)| (name, value::text(given))))),
            ("inside", value::list(self.inside.iter().map(Command::value).collect())),
        ])
    }
}

/// Returns the calls of kubectl that a line made. `code` is the exit code of the line. Left out is
/// a call that kubectl does not understand, such as one with an unknown flag, and one for help.
///
/// ```text
/// kubectl logs pair -cweb                        logs, args [pair], flags {container: web}
/// kubectl exec tester -- sh -c 'nslookup web'    exec, args [tester], inside [nslookup web]
/// kubectl exec tester -- echo nslookup web       exec, args [tester], inside [echo nslookup web]
/// kubectl logs pair # -c web                     logs, args [pair], flags {}
/// echo kubectl logs pair -c web                  none
/// ```
pub(super) fn calls(line: &str, code: i64) -> Vec<Call> {
    // At Ropewalk's prompt the word kubectl may be left out.
    let first = line.split_whitespace().next().unwrap_or_default();
    let ran = match table::root().child(first) {
        Some(_) => commands::commands(&format!("kubectl {line}"), code),
        None => commands::commands(line, code),
    };
    // Of several commands it is not known whose exit code the line has.
    let own_code = if ran.len() == 1 { code } else { -1 };
    ran.iter().filter_map(|command| call(command, own_code)).collect()
}

fn call(command: &Command, code: i64) -> Option<Call> {
    if !matches!(command.program.as_str(), "kubectl" | "k") {
        return None;
    }
    let parsed = parse::parse(&command.args).ok().filter(|parsed| !parsed.help)?;
    let behind = parsed.dash.and_then(|dash| parsed.args.get(dash..)).unwrap_or_default();
    let inside = inside(behind, code);
    Some(Call { parsed, inside })
}

/// The commands that words run in a container: `timeout 5 wget web` runs `wget web`, and
/// `sh -c 'sleep 1; wget web'` runs `sleep 1` and `wget web`.
fn inside(words: &[String], code: i64) -> Vec<Command> {
    let line = shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default();
    let expand = |command: Command| {
        let inner = script(&command).map(|script| commands::commands(script, code));
        inner.unwrap_or_else(|| vec![command])
    };
    commands::commands(&line, code).into_iter().flat_map(expand).collect()
}

/// The script that a shell gets with `-c`.
fn script(command: &Command) -> Option<&str> {
    if !SHELLS.contains(&command.program.as_str()) {
        return None;
    }
    let is_script = |arg: &String| arg.starts_with('-') && !arg.starts_with("--") && arg.contains('c');
    let at = command.args.iter().position(is_script)?;
    command.args.get(at + 1).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::calls;

    /// The calls of a line: the verb with its own words and flags, and what runs inside.
    fn told(line: &str, code: i64) -> Vec<String> {
        let told = |call: super::Call| {
            let own = call.parsed.dash.unwrap_or(call.parsed.args.len());
            let flags = call.parsed.flags.given().map(|(name, value)| format!("{name}={value}"));
            let words: Vec<String> = std::iter::once(call.parsed.verb.path.to_string())
                .chain(call.parsed.args.iter().take(own).cloned())
                .chain(flags)
                .collect();
            let inside = call.inside.iter().map(|c| format!(" | {} {}", c.program, c.args.join(" ")));
            words.join(" ") + &inside.collect::<String>()
        };
        calls(line, code).into_iter().map(told).collect()
    }

    #[test]
    fn every_spelling_of_a_flag_is_the_same_flag() {
        for line in [
            "kubectl logs pair -c web",
            "kubectl logs pair -cweb",
            "kubectl logs -c=web pair",
            "k logs --container 'web' pair # the second one",
            "logs pair --container=web",
            "A=1 timeout 5 kubectl logs pair -c web 2>&1",
        ] {
            assert_eq!(told(line, 0), ["logs pair container=web"], "{line}");
        }
        assert_eq!(told("kubectl -n 'staging' get pods", 0), ["get pods namespace=staging"]);
        assert_eq!(
            told("kubectl rollout undo deployment blog --to-revision 1; echo $?", 0),
            ["rollout undo deployment blog to-revision=1"]
        );
        assert_eq!(told("kubectl get pods && kubectl get nodes", 0), ["get pods", "get nodes"]);
    }

    #[test]
    fn words_without_effect_are_no_call_and_no_flag() {
        assert_eq!(told("kubectl logs pair # -c web", 0), ["logs pair"]);
        assert_eq!(told("kubectl logs pair | grep -c web", 0), ["logs pair"]);
        for line in [
            "echo kubectl logs pair -c web",
            "true || kubectl logs pair -c web",
            "kubectl logs pair --no-such-flag",
            "kubectl logs pair -c web --tail=x",
            "kubectl logs --help",
        ] {
            assert!(told(line, 0).is_empty(), "{line}");
        }
    }

    #[test]
    fn a_program_in_a_container_is_the_one_that_runs() {
        for line in [
            "kubectl exec tester -- nslookup web",
            "kubectl exec tester -- sh -c 'nslookup web'",
            "kubectl exec tester -- /bin/sh -ec 'timeout 5 nslookup \"web\"'",
            "kubectl exec tester -- env A=1 nslookup web",
        ] {
            assert_eq!(told(line, 0), ["exec tester | nslookup web"], "{line}");
        }
        assert_eq!(told("exec tester -- echo nslookup web", 0), ["exec tester | echo nslookup web"]);
        let commented = "kubectl exec tester -- sh -c 'false # nslookup web'";
        assert_eq!(told(commented, 1), ["exec tester | false "]);
        let failed = "kubectl exec tester -- sh -c 'false && nslookup web'";
        assert_eq!(told(failed, 1), ["exec tester | false "]);
    }
}

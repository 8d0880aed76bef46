//! The draft of a lesson, from what a teacher did once.
//!
//! A step is made for each command that changed an object or that `asked` understands. What else
//! was typed, and what failed, stands in the solution of the step that follows. Checks are proposed
//! from the objects that changed. What only the author can know is marked with [`OPEN`]. The draft
//! can be read as it stands.

use super::asked;
use super::text::Text;
use crate::lines::{arguments, is_plain, verb_and_words};
use std::collections::BTreeMap;

/// Marks what the author has to fill in.
pub const OPEN: &str = "TODO";

/// Checks that are proposed for one command, at most: `apply -f` of a folder changes many objects.
const CHECKS_MAX: usize = 4;

/// One command that the teacher ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Act {
    /// The command as it was typed, without the prompt.
    pub line: String,
    /// The manifest that was pasted after it, without its end.
    pub pasted: String,
    /// Its exit code; 0 is success.
    pub code: i32,
    /// What it changed, in the order in which the store has it.
    pub changes: Vec<Change>,
}

/// What a command did with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The plural, with the group of a custom resource.
    pub resource: String,
    /// Empty for an object without one.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// What became of the object.
    pub how: How,
}

/// How an object changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was not there before.
    Created,
    /// It has another version now.
    Updated,
    /// It is gone.
    Deleted,
}

/// The two files of a lesson.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The text of `lesson.md`.
    pub english: String,
    /// The text of `lesson.ko.md`, in which the author translates.
    pub korean: String,
    /// How many steps were made.
    pub steps: usize,
}

/// Which lesson a draft becomes.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// The first part of the id, e.g. `harbour` of `harbour/13`.
    pub track: &'a str,
    /// The second part of the id, from 1.
    pub order: u32,
    /// The title in English.
    pub title: &'a str,
}

/// A step while it is put together.
#[derive(Default)]
struct Step {
    /// The lines of its solution.
    solution: Vec<String>,
    /// The command that the step is about, and its manifest.
    line: String,
    pasted: String,
    /// The sentence, and the key with its value as YAML.
    checks: Vec<(Text, String)>,
}

/// Writes the draft. `None`: there is no command that a step could be made of.
pub fn draft(named: Named<'_>, acts: &[Act]) -> Option<Draft> {
    let mut steps: Vec<Step> = Vec::new();
    let mut waiting: Vec<String> = Vec::new();
    for act in acts {
        waiting.extend(solution(act));
        let checks = if act.code == 0 { proposed(act) } else { vec![] };
        if checks.is_empty() {
            continue;
        }
        let (line, pasted) = (act.line.clone(), act.pasted.clone());
        steps.push(Step { solution: std::mem::take(&mut waiting), line, pasted, checks });
    }
    // What came after the last step is done with it.
    steps.last_mut()?.solution.extend(waiting);
    let (english, korean) = (english(named, &steps), korean(named, &steps));
    Some(Draft { english, korean, steps: steps.len() })
}

/// The lines of a solution that repeat an act. The mark says that a line may fail.
fn solution(act: &Act) -> Vec<String> {
    let mark = if act.code == 0 { "" } else { "-" };
    let mut lines: Vec<String> = format!("{mark}{}", act.line).lines().map(String::from).collect();
    if !act.pasted.is_empty() {
        lines.extend(act.pasted.lines().map(String::from));
        lines.push(".".into());
    }
    lines
}

/// How a command left an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// It was not there before.
    Made,
    /// It was there before, and is another object now: `replace --force` deletes it and makes it
    /// anew.
    Remade,
    /// It is the object that was there before.
    Changed,
    /// It is not there.
    Gone,
}

/// Returns how changes of one object, in their order, have left it; `None` if there are none.
fn left(changes: &[&Change]) -> Option<Left> {
    let was_there = changes.first()?.how != How::Created;
    let was_made = changes.iter().any(|change| change.how == How::Created);
    Some(match changes.last()?.how {
        How::Deleted => Left::Gone,
        _ if !was_made => Left::Changed,
        _ if was_there => Left::Remade,
        _ => Left::Made,
    })
}

/// Checks for what an act changed, else for the request that it made.
fn proposed(act: &Act) -> Vec<(Text, String)> {
    // Only how it was left counts.
    let mut objects: BTreeMap<(&str, &str, &str), Vec<&Change>> = BTreeMap::new();
    for change in &act.changes {
        let key = (change.resource.as_str(), change.namespace.as_str(), change.name.as_str());
        objects.entry(key).or_default().push(change);
    }
    let proposed = objects.into_values().filter_map(|changes| check(act, changes.first()?, left(&changes)?));
    let checks: Vec<_> = proposed.take(CHECKS_MAX).collect();
    if !checks.is_empty() {
        return checks;
    }
    let line = with_kubectl(&act.line);
    match asked::source(&line, None) {
        // What a pipe or a variable makes of the line is not known.
        _ if !is_plain(&line) => vec![],
        Ok(_) => vec![(both(OPEN, OPEN), format!("asked: {}", quoted(&line)))],
        Err(_) => vec![],
    }
}

/// The line as `asked` reads it: at the prompt `kubectl` may be left out.
fn with_kubectl(line: &str) -> String {
    match line.split_whitespace().next() {
        Some("kubectl") => line.into(),
        Some("k") => format!("kubectl{}", line.trim_start().strip_prefix('k').unwrap_or_default()),
        _ => format!("kubectl {line}"),
    }
}

/// A check for one object. `None`: its kind is not built in.
fn check(act: &Act, change: &Change, left: Left) -> Option<(Text, String)> {
    let entry = api::kinds::all().iter().find(|kind| kind.plural == change.resource)?;
    let (kind, name) = (entry.kind, change.name.as_str());
    let object = format!("({}, {}, {})", quoted(kind), quoted(&change.namespace), quoted(name));
    let is = |source: String| format!("is: {}", quoted(&source));
    Some(match left {
        Left::Made => (
            both(&format!("the {kind} {name} exists"), &format!("{kind} {name} 오브젝트가 있음")),
            is(format!("present{object}")),
        ),
        // That it is there was true before, too.
        Left::Remade => (
            both(&format!("the {kind} {name} was replaced"), &format!("{kind} {name} 오브젝트가 교체됨")),
            is(format!(
                "present{object} && get(object{object}, \"metadata.uid\", \"\") \
                 != get(before{object}, \"metadata.uid\", \"\")"
            )),
        ),
        Left::Gone => (
            both(&format!("the {kind} {name} is gone"), &format!("{kind} {name} 오브젝트가 없음")),
            // Also that it was there: else the step is done before the learner has done anything.
            is(format!("gone{object}")),
        ),
        Left::Changed => {
            let words = shlex::split(&act.line).unwrap_or_default();
            let verb = verb_and_words(arguments(&words)).0.path.split(' ').next().unwrap_or_default();
            let place = match change.namespace.as_str() {
                "" | "default" => String::new(),
                namespace => format!(" -n {namespace}"),
            };
            let line = format!("kubectl {verb} {} {name}{place}", change.resource);
            let changes = matches!(verb, "scale" | "label" | "annotate" | "patch" | "edit");
            let that = both(
                &format!("{OPEN}: the {kind} {name} is as it shall be"),
                &format!("{OPEN}: {kind} {name} 오브젝트가 원하는 상태임"),
            );
            // A controller may still write the status of what the step before has made.
            let differs = |part: &str| {
                format!("get(object{object}, \"{part}\", {{}}) != get(before{object}, \"{part}\", {{}})")
            };
            let differs = match entry.has_status && verb != "certificate" {
                true => format!("({} || {})", differs("spec"), differs("metadata.labels")),
                false => format!("object{object} != before{object}"),
            };
            match changes && asked::source(&line, None).is_ok() {
                true => (that, format!("asked: {}", quoted(&line))),
                false => (that, is(format!("present{object} && {differs}"))),
            }
        }
    })
}

fn both(english: &str, korean: &str) -> Text {
    let mut text = Text::new(english);
    text.put("ko", korean);
    text
}

/// A text in double quotes, as JSON writes it: YAML and expressions read that, too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A hint is a template, and `${` in a line of the shell is none of its places.
fn can_be_hint(line: &str) -> bool {
    !line.contains("${") && !line.contains('\n')
}

fn english(named: Named<'_>, steps: &[Step]) -> String {
    let Named { track, order, title } = named;
    let is_fault = |line: &String| line.trim_start_matches('-').split_whitespace().next() == Some("fault");
    let requires = if steps.iter().flat_map(|s| &s.solution).any(is_fault) { "[fault]" } else { "[]" };
    let mut out = format!(
        "---\n# A recorded draft. Search for {OPEN}: these places are open.\nid: {track}/{order:02}\ntitle: {}\n\
        track: {}\norder: {order}\nminutes: {}\nrequires: {requires}\nsteps:\n",
        quoted(title),
        quoted(track),
        steps.len() * 2
    );
    for (at, step) in steps.iter().enumerate() {
        let task = format!("{OPEN}: ask for what this step reaches, and not for the command.");
        out.push_str(&format!("  - id: step-{}\n    task: {}\n    check:\n", at + 1, quoted(&task)));
        for (that, is) in &step.checks {
            out.push_str(&format!("      - that: {}\n        {is}\n", quoted(that.get("en"))));
        }
        if can_be_hint(&step.line) {
            let say = quoted(&format!("`{}`", step.line));
            out.push_str(&format!("    hints:\n      - {{id: give, tier: 3, say: {say}}}\n"));
        }
        out.push_str("    solution:\n");
        out.extend(step.solution.iter().map(|line| format!("      - {}\n", quoted(line))));
        out.push_str(&format!("    wrong: [] # {OPEN}: answers that have to stay red\n"));
    }
    out.push_str(&format!("---\n# {title}\n\n{OPEN}: the problem and the idea, in one or two sentences.\n"));
    for (at, step) in steps.iter().enumerate() {
        let text = format!("{OPEN}: what the learner reads before the command.");
        out.push_str(&section(&format!("{OPEN}: step {}", at + 1), at, &text, step));
    }
    out + &format!("\n## You can now {{#end}}\n\n{OPEN}: what the learner can do now.\n")
}

fn korean(named: Named<'_>, steps: &[Step]) -> String {
    let Named { track, order, title } = named;
    let title_text = quoted(&format!("{OPEN}: {title}"));
    let mut out = format!("---\nid: {track}/{order:02}\ntitle: {title_text}\nsteps:\n");
    for (at, step) in steps.iter().enumerate() {
        let task = format!("{OPEN}: 명령이 아니라 이 단계에서 이룰 일을 적으세요.");
        let sentences: Vec<String> = step.checks.iter().map(|(that, _)| quoted(that.get("ko"))).collect();
        out.push_str(&format!("  - id: step-{}\n    task: {}\n", at + 1, quoted(&task)));
        out.push_str(&format!("    check: [{}]\n", sentences.join(", ")));
        if can_be_hint(&step.line) {
            out.push_str(&format!("    hints: {{give: {}}}\n", quoted(&format!("`{}`", step.line))));
        }
    }
    out.push_str(&format!("---\n# {OPEN}: {title}\n\n{OPEN}: 문제와 개념을 한두 문장으로 적으세요.\n"));
    for (at, step) in steps.iter().enumerate() {
        let text = format!("{OPEN}: 명령 전에 읽을 내용을 적으세요.");
        out.push_str(&section(&format!("{OPEN}: {}단계", at + 1), at, &text, step));
    }
    out + &format!("\n## 이제 할 수 있는 일 {{#end}}\n\n{OPEN}: 이제 할 수 있는 일을 적으세요.\n")
}

/// The section of a step. A manifest that was pasted stands below its command, which then is no
/// line that a test could run alone.
fn section(heading: &str, at: usize, text: &str, step: &Step) -> String {
    let mut out = format!("\n## {heading} {{#step-{}}}\n\n{text}\n", at + 1);
    let kind = if step.pasted.is_empty() { "sh" } else { "text" };
    for (kind, block) in [(kind, &step.line), ("yaml", &step.pasted)] {
        if !block.is_empty() && !block.contains("```") {
            out.push_str(&format!("\n```{kind}\n{}\n```\n", block.trim_end()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Lesson, parse};
    use std::path::Path;

    fn act(line: &str, changes: &[(&str, &str, How)]) -> Act {
        let change = |(resource, name, how): &(&str, &str, How)| Change {
            resource: resource.to_string(),
            namespace: "default".into(),
            name: name.to_string(),
            how: *how,
        };
        Act { line: line.into(), changes: changes.iter().map(change).collect(), ..Act::default() }
    }

    const NAMED: Named<'_> = Named { track: "harbour", order: 3, title: "a shop" };

    fn read(draft: &Draft) -> Lesson {
        let others = [("ko", draft.korean.as_str(), Path::new("lesson.ko.md"))];
        parse(&draft.english, Path::new("lesson.md"), &others)
            .unwrap_or_else(|faults| panic!("{faults:?}\n{}\n{}", draft.english, draft.korean))
    }

    #[test]
    fn a_draft_can_be_read_and_has_a_step_for_each_command() {
        let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"c\"}";
        let acts = [
            act("cd /tmp", &[]),
            act("create deployment web --image=nginx", &[("deployments", "web", How::Created)]),
            Act { code: 1, ..act("kubectl get pod ghost", &[]) },
            act("kubectl scale deployment web --replicas=3", &[("deployments", "web", How::Updated)]),
            act("k get pods -o wide", &[]),
            act("kubectl get pods | head", &[]),
            Act {
                pasted: manifest.into(),
                ..act("kubectl apply -f -", &[("configmaps", "c", How::Created)])
            },
            act("for a in 1 2; do\n  echo \"${a}\"\ndone", &[("configmaps", "c", How::Updated)]),
            act("delete deployment web", &[("deployments", "web", How::Deleted)]),
            act("ls", &[]),
        ];
        let draft = draft(NAMED, &acts).unwrap();
        let lesson = read(&draft);
        assert_eq!((lesson.id.as_str(), lesson.languages.len()), ("harbour/03", 2));
        assert_eq!((draft.steps, lesson.steps.len()), (6, 6));
        let step = |at: usize| &lesson.steps[at];
        assert_eq!(step(0).solution, ["cd /tmp", "create deployment web --image=nginx"]);
        assert_eq!(step(1).solution[0], "kubectl get pod ghost");
        assert!(step(1).may_fail.contains(&0) && step(1).may_fail.len() == 1);
        assert_eq!(step(3).solution[..2], ["kubectl get pods | head", "kubectl apply -f -"]);
        assert_eq!(step(3).solution.last().map(String::as_str), Some("."));
        assert_eq!(step(4).solution.len(), 3);
        assert_eq!(step(5).solution, ["delete deployment web", "ls"]);
        for part in [
            "is: \"present(\\\"Deployment\\\", \\\"default\\\", \\\"web\\\")\"",
            "asked: \"kubectl scale deployments web\"",
            "asked: \"kubectl get pods -o wide\"",
            "is: \"gone(\\\"Deployment\\\", \\\"default\\\", \\\"web\\\")\"",
        ] {
            assert!(draft.english.contains(part), "{part}\n{}", draft.english);
        }
        // Every text that only the author knows is marked, in both languages.
        for lang in ["en", "ko"] {
            assert!(lesson.steps.iter().all(|s| s.task.get(lang).starts_with(OPEN)));
            assert!(lesson.intro.get(lang).contains(OPEN) && lesson.closing.get(lang).contains(OPEN));
        }
    }

    /// A Deployment's controller writes its status as its pods become ready.
    #[test]
    fn what_controllers_write_is_no_act_of_the_learners() {
        let acts = [
            act("create deployment web --image=nginx", &[("deployments", "web", How::Created)]),
            act("kubectl set image deployment web nginx=nginx:2", &[("deployments", "web", How::Updated)]),
            act("kubectl certificate approve eve", &[("certificatesigningrequests", "eve", How::Updated)]),
            act(
                "kubectl replace --force -f web.yaml",
                &[("deployments", "web", How::Deleted), ("deployments", "web", How::Created)],
            ),
        ];
        let draft = draft(NAMED, &acts).unwrap();
        assert_eq!(read(&draft).steps.len(), 4);
        let has =
            |part: &str| assert!(draft.english.contains(&quoted(part)[1..]), "{part}\n{}", draft.english);
        let web = r#"("Deployment", "default", "web")"#;
        let differs =
            |part: &str| format!(r#"get(object{web}, "{part}", {{}}) != get(before{web}, "{part}", {{}})"#);
        has(&format!("({} || {})", differs("spec"), differs("metadata.labels")));
        let eve = r#"("CertificateSigningRequest", "default", "eve")"#;
        has(&format!("object{eve} != before{eve}"));
        has(&format!(r#"get(object{web}, "metadata.uid", "") != get(before{web}, "metadata.uid", "")"#));
    }

    #[test]
    fn options_may_stand_before_the_verb() {
        let acts =
            [act("kubectl -n shop scale deploy/web --replicas=3", &[("deployments", "web", How::Updated)])];
        let draft = draft(NAMED, &acts).unwrap();
        assert!(draft.english.contains("asked: \"kubectl scale deployments web\""), "{}", draft.english);
    }

    #[test]
    fn of_nothing_there_is_no_draft() {
        assert!(draft(NAMED, &[]).is_none() && draft(NAMED, &[act("ls", &[])]).is_none());
        let refused = Act { code: 1, ..act("kubectl get pods", &[]) };
        assert!(draft(NAMED, &[refused]).is_none());
    }

    #[test]
    fn only_how_an_object_was_left_is_checked() {
        let of = |changes: &[(&str, &str, How)]| {
            let checks = proposed(&act("kubectl replace --force -f a.yaml", changes));
            checks.into_iter().map(|(_, is)| is).collect::<Vec<_>>().join("\n")
        };
        let (made, changed, gone) = (How::Created, How::Updated, How::Deleted);
        assert!(of(&[("pods", "a", made), ("pods", "a", changed)]).starts_with("is: \"present("));
        assert!(of(&[("pods", "a", made), ("pods", "a", gone)]).starts_with("is: \"gone("));
        assert!(of(&[("pods", "a", changed)]).contains("before("));
        let remade = of(&[("pods", "a", gone), ("pods", "a", made), ("pods", "a", changed)]);
        assert!(remade.contains("metadata.uid"), "it was there before, too: {remade}");
        let again = of(&[("pods", "a", made), ("pods", "a", gone), ("pods", "a", made)]);
        assert!(again.starts_with("is: \"present(") && !again.contains("uid"), "{again}");
        assert_eq!(of(&[("widgets.example.com", "a", made)]), "", "its kind is not built in");
        let many: Vec<String> = (0..9).map(|n| format!("c{n}")).collect();
        let many: Vec<_> = many.iter().map(|name| ("configmaps", name.as_str(), made)).collect();
        assert_eq!(of(&many).lines().count(), CHECKS_MAX);
    }
}

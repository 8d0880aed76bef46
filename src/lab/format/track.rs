//! From text to a lesson that can be played, or to what is wrong with it.

use super::compiler::Compiler;
use super::declared::Declared;
use super::file::plain;
use super::files::Files;
use super::lesson::Lesson;
use super::load;
use super::prose;
use super::raw;
use super::step::{check_repairs, one_step};
use super::text::{EN, Fault, OTHERS, Text};
use super::then::Then;
use super::translate::translate;
use crate::broken_shell;
use crate::needs;
use std::collections::BTreeSet;
use std::path::Path;

/// Views of the map that a lesson may name.
pub const VIEWS: &[&str] = &["cluster", "control-plane", "raft", "scheduling", "network", "rollout", "pod"];

/// Reads a lesson: its English file, and the files of further languages by name of the language.
///
/// # Errors
/// Every fault that is found, with file and line.
pub(crate) fn parse(text: &str, file: &Path, others: &[(&str, &str, &Path)]) -> Result<Lesson, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut lesson = english(&plain(text), file, &mut faults).map_err(|fault| vec![fault])?;
    for (lang, text, file) in others {
        // Against an English text that is broken itself, differences mean nothing.
        if OTHERS.contains(lang) && faults.is_empty() {
            match translate(&mut lesson, lang, &plain(text), file, &mut faults) {
                Ok(()) => lesson.languages.push((*lang).into()),
                Err(fault) => faults.push(fault),
            }
        }
    }
    if faults.is_empty() { Ok(lesson) } else { Err(faults) }
}

fn english(text: &str, file: &Path, faults: &mut Vec<Fault>) -> Result<Lesson, Fault> {
    let (front, first, body, body_first) = prose::split(text, file)?;
    let mut raw: raw::Lesson = raw::read(front, file, first)?;
    let (intro, mut sections) = prose::sections(body, body_first, file)?;
    let closing = prose::closing(&mut sections);
    let mut on = Compiler::new(text, file, faults);
    let mut ids = BTreeSet::new();
    for step in &raw.steps {
        if !ids.insert(step.id.clone()) {
            on.double_step(&step.id);
        }
    }
    let order: Vec<&str> = raw.steps.iter().map(|s| s.id.as_str()).collect();
    let written: Vec<&str> = sections.iter().map(|s| s.id.as_str()).collect();
    if order != written {
        let line = sections.first().map_or(body_first, |s| s.line);
        let what = format!("the sections are {}, the steps {}", written.join(", "), order.join(", "));
        on.faults.push(Fault { file: file.into(), line, what });
    }
    check_head(&mut on, &raw);
    let (clock, cluster) = (raw.scale() as u32, cluster_of(&mut on, &raw));
    define(&mut on, &raw.define);
    let then = Then::read(&mut on, raw.then.take());
    let load = raw.load.take().and_then(|declared| load::read(&mut on, declared));
    let mut files = Files::read(&mut on, std::mem::take(&mut raw.files));
    raw.setup = files.with_texts(&mut on, raw.setup);
    on.lines(&raw.setup);
    let mut steps = Vec::new();
    for mut step in raw.steps {
        on.begin_step(&step.id, step.answer.is_some()); // the one before may have the same line
        step.setup = files.with_texts(&mut on, step.setup);
        step.solution = files.with_texts(&mut on, step.solution);
        on.setup_of_step(&step.setup);
        on.faults_of_step(&step.faults);
        let section = sections.iter().find(|s| s.id == step.id);
        let mut step = one_step(&mut on, step, section);
        step.load = step.load.or_else(|| load.clone());
        load::check(&mut on, &step);
        if let Some(what) = broken_shell::odd(&step) {
            on.fault("shell", what);
        }
        step.needs = needs::of_step(&step, &raw.setup);
        steps.push(step);
    }
    check_repairs(&mut on, &steps);
    let lesson = Lesson {
        id: raw.id,
        track: raw.track,
        order: raw.order,
        title: Text::new(&raw.title),
        row: raw.row,
        minutes: raw.minutes,
        needs: raw.needs,
        then,
        requires: raw.requires,
        cluster,
        setup: raw.setup,
        files: files.into_all(),
        clock,
        view: raw.view,
        steps,
        intro: Text::new(&intro),
        closing: Text::new(&closing),
        languages: vec![EN.into()],
        file: file.into(),
        defines: on.defines.clone(),
    };
    check_defines(&mut on, &lesson);
    Ok(lesson)
}

/// Reads the names that the lesson defines for expressions.
fn define(on: &mut Compiler<'_>, define: &serde_json::Map<String, serde_json::Value>) {
    for (name, source) in define {
        let near = format!("{name}:");
        let Some(source) = source.as_str() else {
            on.fault(&near, format!("{name:?} is to be an expression, in quotes"));
            continue;
        };
        if let Err(error) = on.defines.add(name, source) {
            on.fault(&near, error.to_string());
        }
    }
}

/// Notes defined names that nothing uses. In a lesson that does not compile that is not known.
fn check_defines(on: &mut Compiler<'_>, lesson: &Lesson) {
    let used: BTreeSet<&String> = lesson.exprs().into_iter().flat_map(|expr| &expr.defined).collect();
    let unused: Vec<String> =
        on.defines.names().filter(|name| !used.contains(&name.to_string())).map(String::from).collect();
    on.step.clear();
    for name in unused.iter().filter(|_| on.faults.is_empty()).collect::<Vec<_>>() {
        on.fault(&format!("{name}:"), format!("no expression uses {name:?}"));
    }
}

/// Checks what stands in the front matter before the steps, and what must agree with them.
fn check_head(on: &mut Compiler<'_>, raw: &raw::Lesson) {
    if raw.id != format!("{}/{:02}", raw.track, raw.order) {
        on.fault(
            "id:",
            format!("the id is {:?}, but track and order make {}/{:02}", raw.id, raw.track, raw.order),
        );
    }
    // The id stands in the line that begins a session beside the learner's own.
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !raw.track.starts_with(char::is_alphanumeric) || !raw.track.chars().all(is_plain) {
        on.fault(
            "track:",
            format!("track: a name has letters, digits, `-`, `_` and `.`, not {:?}", raw.track),
        );
    }
    if raw.steps.is_empty() {
        on.fault("steps:", "a lesson has at least one step".into());
    }
    check_requires(on, &raw.requires);
    for step in &raw.steps {
        on.begin_step(&step.id, false);
        check_requires(on, &step.requires);
    }
    on.begin_step("", false);
    let scale = raw.scale();
    if !(scale.fract() == 0.0 && (1.0..=f64::from(clock::SCALE_MAX)).contains(&scale)) {
        let most = clock::SCALE_MAX;
        on.fault("clock:", format!("a clock runs ×1 (real time) to ×{most}, in whole numbers, not ×{scale}"));
    }
    if let Some(named) = &raw.faults {
        let used: BTreeSet<&str> = raw.steps.iter().flat_map(fault_verbs).collect();
        let named: BTreeSet<&str> = named.iter().map(String::as_str).collect();
        for verb in used.symmetric_difference(&named) {
            let what = match named.contains(verb) {
                true => format!("no step uses `fault {verb}`"),
                false => format!("a step uses `fault {verb}`, which is not named here"),
            };
            on.fault("faults:", what);
        }
    }
    for view in raw.steps.iter().filter_map(|s| s.view.as_ref()).chain([&raw.view]) {
        if !VIEWS.contains(&view.as_str()) {
            on.fault(
                &format!("view: {view}"),
                format!("there is no view {view:?}; there are {}", VIEWS.join(", ")),
            );
        }
    }
}

/// Notes requirements of the lesson, or of the step that is read, that no cluster can meet.
fn check_requires(on: &mut Compiler<'_>, requires: &[String]) {
    for odd in requires.iter().filter_map(|need| needs::odd_requirement(need)) {
        on.fault("requires:", odd);
    }
}

/// The cluster that the lesson declares, if it does.
fn cluster_of(on: &mut Compiler<'_>, raw: &raw::Lesson) -> Option<Declared> {
    let written = raw.cluster.as_ref()?;
    if written.clock.is_some() && raw.clock.is_some() {
        on.fault("clock:", "the clock stands twice: in `cluster` and in `clock`".into());
    }
    Declared::read(written).map_err(|why| on.fault("cluster:", why)).ok()
}

/// The verbs of the `fault` lines that a step plays itself or has the learner type.
fn fault_verbs(step: &raw::Step) -> impl Iterator<Item = &str> {
    let lines = step.faults.iter().chain(&step.solution).chain(step.also.iter().flat_map(|way| &way.lines));
    lines.filter_map(|line| {
        let mut words = line.trim_start_matches('-').split_whitespace();
        words.next().filter(|word| *word == "fault").and(words.next())
    })
}

#[cfg(test)]
mod tests {
    use super::super::Way;
    use super::*;

    const LESSON: &str = include_str!("../fixtures/first-voyage/04-run-a-pod/lesson.md");
    const KOREAN: &str = include_str!("../fixtures/first-voyage/04-run-a-pod/lesson.ko.md");

    fn read(english: &str, korean: &str) -> Result<Lesson, Vec<String>> {
        parse(english, Path::new("lesson.md"), &[("ko", korean, Path::new("lesson.ko.md"))])
            .map_err(|all| all.iter().map(ToString::to_string).collect())
    }
    fn broken(from: &str, to: &str) -> Vec<String> {
        assert!(LESSON.contains(from), "{from}");
        read(&LESSON.replacen(from, to, 1), KOREAN).unwrap_err()
    }
    fn broken_korean(from: &str, to: &str) -> Vec<String> {
        assert!(KOREAN.contains(from), "{from}");
        read(LESSON, &KOREAN.replacen(from, to, 1)).unwrap_err()
    }

    /// A question stands in `run` and none in `inside`.
    #[test]
    fn an_answer_and_the_closing_section_stand_in_both_languages() {
        let run = ("Watch the diagram.", "Watch the diagram.\n\n<!-- after -->\n\nOnly a record.");
        let run_ko = ("그림을 보면서", "\n\n<!-- after -->\n\n그림을 보면서");
        let end = "\n\n## You can now {#end}\n\nRun a pod.\n";
        let english = LESSON.replacen(run.0, run.1, 1);
        let korean = KOREAN.replacen(run_ko.0, run_ko.1, 1);
        let lesson = read(&format!("{english}{end}"), &format!("{korean}{end}")).unwrap();
        assert_eq!((lesson.steps[0].after.get(EN), lesson.closing.get(EN)), ("Only a record.", "Run a pod."));
        assert!(
            !lesson.steps[0].prose.get("ko").contains("그림을")
                && lesson.steps[0].after.get("ko").contains("그림을")
        );
        let says =
            |faults: Vec<String>, what: &str| assert!(faults.iter().any(|f| f.contains(what)), "{faults:?}");
        says(
            read(&english, KOREAN).unwrap_err(),
            "<!-- after --> of step \"run\" stands in one language only",
        );
        says(
            read(&format!("{LESSON}{end}"), KOREAN).unwrap_err(),
            "the closing section {#end} stands in one language",
        );
        let inside = "A container is an ordinary Linux process";
        says(broken(inside, &format!("<!-- after -->\n{inside}")), "has no question");
    }

    #[test]
    fn the_worked_example_is_read() {
        let lesson = read(LESSON, KOREAN).unwrap();
        assert_eq!(
            (lesson.id.as_str(), lesson.steps.len(), lesson.languages.len()),
            ("first-voyage/04", 3, 2)
        );
        let run = &lesson.steps[0];
        assert_eq!((run.checks.len(), run.hints.len(), run.wrong.len(), run.within.as_secs()), (2, 5, 5, 20));
        assert_eq!(run.also[0].lines.last().map(String::as_str), Some("."));
        assert_eq!(run.checks[1].that.get("ko"), "컨테이너가 준비되었다");
        assert!(
            run.prose.get("ko").contains("요청할 뿐이고") && lesson.intro.get(EN).contains("smallest thing")
        );
        assert!(!lesson.steps[1].checks[0].is.is_level() && run.checks[0].is.is_level());
    }

    #[test]
    fn a_slip_names_file_line_and_what_was_meant() {
        assert_eq!(
            broken("    hold: 1s", "    hodl: 1s"),
            ["lesson.md:28: unknown key \"hodl\"; did you mean \"hold\"?"]
        );
        assert_eq!(
            broken("minutes: 7", "minuts: 7"),
            ["lesson.md:7: unknown key \"minuts\"; did you mean \"minutes\"?"]
        );
        assert_eq!(
            broken("{id: help, tier: 1", "{id: help, teir: 1"),
            ["lesson.md:31: unknown key \"teir\"; did you mean \"tier\"?"]
        );
        assert_eq!(
            broken("within: 20s", "within: 20"),
            ["lesson.md:29: steps[0].within: \"20\" is no duration; write 500ms, 3s or 2m"]
        );
        for endless in ["9999999999999999999s", "61m"] {
            let told = broken("within: 20s", &format!("within: {endless}"));
            assert_eq!(
                told,
                [format!("lesson.md:29: steps[0].within: {endless:?} is too long; write at most 60m")]
            );
        }
        assert!(broken("requires: []", "requires: [wrokers>=2]")[0].contains("there are kernel, fault"));
        for (scale, told) in [(".nan", "NaN"), ("0.2", "0.2"), ("0", "0"), ("61", "61"), ("1.5", "1.5")] {
            let broken = broken("clock: {scale: 1}", &format!("clock: {{scale: {scale}}}"));
            assert!(broken[0].contains(&format!("not ×{told}")), "{broken:?}");
        }
        assert_eq!(
            broken(
                "'ready(object(\"Pod\",\"default\",\"nginx-pod\"))'\n    hold",
                "'raedy(object(\"Pod\",\"default\",\"nginx-pod\"))'\n    hold"
            ),
            ["lesson.md:27: nothing here is called \"raedy\"; did you mean \"ready\"?"]
        );
    }

    /// Else a lesson's id could be an option of the command that opens it.
    #[test]
    fn a_track_has_a_plain_name() {
        for odd in ["--kubeconfig=x", "a b", "a'b", "\"a\\nb\"", "a/b", "''"] {
            let told = broken("track: first-voyage", &format!("track: {odd}"));
            assert!(told.iter().any(|fault| fault.contains("track: a name has letters")), "{odd}: {told:?}");
        }
    }

    #[test]
    fn what_comes_then_is_a_lab_or_skills_that_there_are() {
        let then = |text: &str| {
            let with = LESSON.replacen("minutes: 7\n", &format!("minutes: 7\nthen: {text}\n"), 1);
            assert_ne!(with, LESSON);
            read(&with, KOREAN)
        };
        let command = |text: &str| then(text).unwrap().then.unwrap().command();
        assert_eq!(command("{lab: wrong-port}"), "lab start wrong-port");
        assert_eq!(command("{drill: [logs, exec]}"), "drill --skill logs,exec");
        assert_eq!(read(LESSON, KOREAN).unwrap().then, None);
        for (text, told) in [
            ("{lab: wrong-prot}", "there is no lab \"wrong-prot\""),
            ("{lab: wrong-port/lab.md}", "there is no lab"),
            ("{drill: [logs, swim]}", "there is no skill \"swim\""),
            ("{}", "either a lab or"),
            ("{lab: wrong-port, drill: [logs]}", "either a lab or"),
        ] {
            let faults = then(text).unwrap_err();
            assert!(faults.len() == 1 && faults[0].starts_with("lesson.md:8: then:"), "{faults:?}");
            assert!(faults[0].contains(told), "{faults:?}");
        }
    }

    #[test]
    fn a_way_is_shown_to_the_learner_only_if_it_is_marked() {
        let from = "    also:\n";
        let to = "    also:\n      - {do: [\"kubectl run nginx-pod --image nginx\"], show: true}\n";
        assert!(LESSON.contains(from));
        let lesson = read(&LESSON.replacen(from, to, 1), KOREAN).unwrap();
        let also = &lesson.steps[0].also;
        assert_eq!(also[0], Way { lines: vec!["kubectl run nginx-pod --image nginx".into()], show: true });
        assert!(!also[1].show && also[1].lines.len() > 1, "a plain list is a test case");
        let slip = broken(from, "    also:\n      - {do: [\"ls\"], shwo: true}\n");
        assert!(slip[0].contains("did you mean \"show\""), "{slip:?}");
    }

    /// The first line of a manifest's list begins with a `-`, too.
    #[test]
    fn a_line_of_a_solution_that_may_fail_is_marked() {
        let (from, to) = (
            "    solution: [\"kubectl exec nginx-pod -- hostname\"]",
            "    solution: [\"-kubectl get pod ghost\", \"kubectl apply -f -\", \"- a\", \".\", \"-hostname\"]\n    also: [[\"-hostname\"]]",
        );
        assert!(LESSON.contains(from));
        let lesson = read(&LESSON.replacen(from, to, 1), KOREAN).unwrap();
        let inside = &lesson.steps[1];
        assert_eq!(
            inside.solution,
            ["kubectl get pod ghost", "kubectl apply -f -", "- a", ".", "hostname"],
            "it is run without the mark"
        );
        assert_eq!(inside.may_fail, [0, 4].into());
        assert_eq!(inside.also[0].lines, ["hostname"], "the mark reaches no shell");
        assert_eq!(inside.marked_solution()[0], "-kubectl get pod ghost");
    }

    #[test]
    fn a_verb_that_no_record_has_names_file_line_and_the_known_verbs() {
        let told = broken(r#"t.verb == "create""#, r#"t.verb == "creat""#);
        assert!(told[0].starts_with("lesson.md:67: no record of trace has the verb \"creat\""), "{told:?}");
        assert!(told[0].contains("did you mean \"create\"?; there are admit, "), "{told:?}");
    }

    #[test]
    fn the_faults_that_a_lesson_names_are_those_that_its_steps_use() {
        let (none, kill) = ("faults: [] ", "faults: [kill] ");
        assert_eq!(broken(none, kill), ["lesson.md:12: no step uses `fault kill`"]);
        let uses = LESSON.replacen("    hold: 1s", "    hold: 1s\n    faults: [fault kill etcd]", 1);
        assert_ne!(uses, LESSON);
        let told = read(&uses, KOREAN).unwrap_err();
        assert_eq!(told, ["lesson.md:12: a step uses `fault kill`, which is not named here"]);
        assert!(read(&uses.replacen(none, kill, 1), KOREAN).is_ok());
    }

    #[test]
    fn lines_that_the_teacher_can_play_nowhere_do_not_load() {
        let uses = |line: &str| {
            let with = LESSON.replacen("setup: [] ", &format!("setup: [{line:?}] "), 1);
            assert_ne!(with, LESSON);
            read(&with, KOREAN)
        };
        assert!(uses("-kubectl create deployment web --image=nginx").is_ok());
        let told = uses("kubectl get pods | head").unwrap_err();
        assert!(
            told[0].contains("\"kubectl get pods | head\" cannot be played: it needs a shell"),
            "{told:?}"
        );
        assert!(uses("kubectl delete pod a --nwo").unwrap_err()[0].contains("--nwo"));
    }

    #[test]
    fn faults_of_a_step_change_no_objects() {
        let with = |line: &str| {
            let uses = LESSON.replacen("    hold: 1s", &format!("    hold: 1s\n    faults: [{line:?}]"), 1);
            read(&uses.replacen("faults: [] ", "faults: [kill] ", 1), KOREAN)
        };
        assert!(with("fault kill etcd").is_ok());
        let told = with("kubectl delete pod nginx-pod").unwrap_err();
        assert!(told.iter().any(|fault| fault.contains("is no line of `fault`")), "{told:?}");
        let told = with("fault kil etcd").unwrap_err();
        assert!(told.iter().any(|fault| fault.contains("cannot be played")), "{told:?}");
    }

    /// The same line, or the same key, may stand in a part of the file that is sound.
    #[test]
    fn a_fault_is_told_where_it_stands() {
        let run = "kubectl run nginx-pod --image=nginx";
        let setup = format!("  - id: inside\n    setup: [\"{run}\"]\n");
        let told = broken("  - id: inside\n", &setup);
        assert!(told[0].starts_with("lesson.md:53:") && told[0].contains("once more"), "{told:?}");
        let told = broken("  - id: inside\n", "  - id: inside\n    requires: [wrokers>=2]\n");
        assert!(told[0].starts_with("lesson.md:53:") && told[0].contains("wrokers"), "{told:?}");
        let told = broken("  - id: again\n", "  - id: inside\n");
        assert!(told[0].starts_with("lesson.md:58: two steps are called"), "{told:?}");
        let folded = "check: >-\n      trace.exists(t,\n      t.user == \"learner\" && raedy(t))";
        let check = LESSON.lines().find(|line| line.starts_with("    check: 'trace")).unwrap();
        let told = broken(check, &format!("    {folded}"));
        assert!(told[0].starts_with("lesson.md:55:") && told[0].contains("raedy"), "{told:?}");
    }

    #[test]
    fn a_lesson_saved_on_windows_is_the_same_lesson() {
        let windows = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
        let (here, there) =
            (read(LESSON, KOREAN).unwrap(), read(&windows(LESSON), &windows(KOREAN)).unwrap());
        assert_eq!(format!("{here:?}"), format!("{there:?}"));
        let slip = LESSON.replacen("    hold: 1s", "    hodl: 1s", 1);
        let told = read(&windows(&slip), KOREAN).unwrap_err();
        assert_eq!(told, ["lesson.md:28: unknown key \"hodl\"; did you mean \"hold\"?"]);
    }

    #[test]
    fn a_check_that_looks_at_the_words_does_not_load() {
        let told =
            broken("check: 'trace.exists(t, t.user", "check: 'typed.size() > 0 && trace.exists(t, t.user");
        assert!(told[0].contains("hints only"), "{told:?}");
    }

    #[test]
    fn languages_that_differ_in_structure_are_refused() {
        assert!(
            broken_korean("  - id: inside", "  - id: insight")[0]
                .contains("the steps are run, insight, again")
        );
        assert!(broken_korean("{#again}", "{#once}")[0].contains("the sections are"));
        assert!(broken_korean("      typo: kunectl은", "      tipo: kunectl은")[0].contains("hints of step"));
        assert!(broken_korean(", 컨테이너가 준비되었다]", "]")[0].contains("1 check texts, in English 2"));
        assert!(broken_korean(", c: 컨트롤 플레인 노드에 있다}", "}")[0].contains("choices"));
        assert!(
            broken_korean("## 실행하기 {#run}\n", "## 실행하기 {#run}\n```sh\nls\n```\n")[0]
                .contains("code blocks")
        );
        assert!(broken_korean("id: first-voyage/04", "id: first-voyage/05")[0].contains("in English"));
    }
}

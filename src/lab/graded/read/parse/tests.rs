use super::*;
use crate::format::FAULTS_MAX;

const LAB: &str = include_str!("../../../../../labs/broken-selector/lab.md");

const KOREAN: &str = include_str!("../../../../../labs/broken-selector/lab.ko.md");

fn read(english: &str, korean: &str) -> Result<Lab, Vec<String>> {
    let other = ("ko", (PathBuf::from("broken-selector/lab.ko.md"), korean.to_string()));
    parse(english, Path::new("broken-selector/lab.md"), &[other])
        .map_err(|all| all.iter().map(ToString::to_string).collect())
}

fn broken(from: &str, to: &str) -> String {
    assert!(LAB.contains(from), "{from}");
    read(&LAB.replacen(from, to, 1), KOREAN).unwrap_err().join("\n")
}

#[test]
fn a_lab_saved_on_windows_is_the_same_lab() {
    let windows = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let (here, there) = (read(LAB, KOREAN).unwrap(), read(&windows(LAB), &windows(KOREAN)).unwrap());
    let there = Lab { content: here.content.clone(), ..there }; // that is the hash of the file as it lies there
    assert_eq!(format!("{here:?}"), format!("{there:?}"));
}

#[test]
fn slips_are_told_with_file_line_and_what_was_meant() {
    assert!(broken("minutes:", "minuts:").contains("did you mean \"minutes\"?"));
    assert!(broken("weight: 40", "wieght: 40").contains("did you mean \"weight\"?"));
    assert!(broken("namespace {{ns}}", "namespace {{nss}}").contains("there is no {{nss}}"));
    assert!(broken("{pick: [value, key]}", "{pik: [value, key]}").contains("{pick: [A, B]}"));
    assert!(broken("red: [traffic, durable]", "red: [trafic]").contains("there is no task \"trafic\""));
    assert!(broken("id: broken-selector", "id: other").contains("in the directory"));
    let all = LAB.find("    check: 'get(object(\"Deployment\"").expect("a check");
    let checked = LAB[all..].lines().next().expect("a line");
    assert!(broken(checked, "    check: []").contains("task \"all\" checks nothing"));
    for (is, called) in [("shell().kubectl", "shell()"), ("load().failed == 0", "load()")] {
        let told = broken(checked, &format!("    check: '{is}'"));
        assert!(told.contains(&format!("asks {called}, which only a step")), "{told}");
    }
    let lost = broken(checked, &format!("    lost: 'load().failed > 0'\n{checked}"));
    assert!(lost.contains("asks load(), which only a step"), "{lost}");
    for weight in ["4294967295", "10000"] {
        assert!(broken("weight: 40", &format!("weight: {weight}")).contains("weigh"));
    }
    for range in ["[8999, 8001]", "[-9223372036854775808, 9223372036854775807]", "[1, 18446744073709551615]"]
    {
        assert!(broken("[8001, 8999]", range).contains("{range: [LOW, HIGH]}"), "{range}");
    }
    assert!(broken("level: 1", "level: 5").contains("levels go from 1 to 4"));
    assert!(broken("minutes: 10", "minutes: 0").contains("from 1 to 1440 minutes"));
    assert!(broken("minutes: 10", "requires: [kernle]\nminutes: 10").contains("\"kernle\""));
    let cluster = |keys: &str| broken("minutes: 10", &format!("cluster: {{{keys}}}\nminutes: 10"));
    assert!(cluster("control-planes: 4").contains("1, 3 or 5 control planes"));
    assert!(cluster("clock: 20").contains("a lab runs in real time"));
    assert!(broken("id: where, tier: 1", "id: where, tier: 0").contains("tiers are 1"));
    assert!(broken("id: durable", "id: traffic").contains("two tasks are called \"traffic\""));
    assert!(broken("- id: what\n", "- id: where\n").contains("two hints are called \"where\""));
    assert!(broken("score_max: 90", "score_max: 100").contains("less than all 100 points"));
    assert!(broken("  bad: 'v", "  app: 'v").contains("app is drawn and derived"));
    assert!(broken("  bad: 'v", "  ba-d: 'v").contains("\"ba-d\" is no name"));
    assert!(broken("title: ", "title: \"{{ns}}\" # ").contains("no value is filled in here"));
    assert!(read(LAB, &KOREAN.replace("  same:", "  sane:")).unwrap_err()[0].contains("in English"));
    // What is said of a red task stands in both languages, and names what the lab draws.
    let (unmet, red) = ("\n    unmet: ConfigMap report, key cause", "  report: 컨피그맵");
    assert!(KOREAN.contains(red), "{KOREAN}");
    assert!(read(LAB, &KOREAN.replace(red, "  all: 컨피그맵")).unwrap_err()[0].contains("the unmet are"));
    assert!(broken(unmet, "\n    unmet: ConfigMap {{nane}}").contains("there is no {{nane}}"));
    let told = (checked, "    check: [{that: it is so, is: 'true'}]");
    assert!(broken(told.0, told.1).contains("has 0 sentences under `check`, in English 1"));
    assert!(
        read(LAB, &KOREAN.replace("{{app}}", "{{ap}}")).unwrap_err()[0]
            .starts_with("broken-selector/lab.ko.md:")
    );
}

#[test]
fn of_very_many_faults_only_the_first_are_told() {
    let mut on = On { text: "tasks:\n  - id: a\n", file: Path::new("lab.md"), faults: vec![] };
    for n in 0..FAULTS_MAX {
        on.fault("id: a", n.to_string());
        on.fault_of("tasks:", "a", n.to_string());
    }
    assert_eq!(on.faults.len(), FAULTS_MAX);
    assert!(on.faults.iter().all(|fault| fault.line == 2));
}

#[test]
fn a_lab_has_a_bounded_number_of_hints() {
    let faults = |count: usize| {
        let mut on = On { text: "hints:\n", file: Path::new("lab.md"), faults: vec![] };
        let hint = |_| raw::Hint { id: None, tier: 1, when: None, say: "x".into() };
        hints((0..count).map(hint).collect(), &Map::new(), &mut on);
        on.faults.into_iter().map(|fault| fault.what).collect::<Vec<_>>()
    };
    assert!(faults(100).is_empty());
    assert_eq!(faults(101), ["there may be 100 hints at most, not 101"]);
}

/// A lab, a task and a hint may have one name, or one may begin with another's.
#[test]
fn a_fault_of_a_task_is_told_on_the_line_of_its_id() {
    let line_of = |text: &str, line: &str| 1 + text.lines().position(|l| l == line).expect("a line");
    let told = |text: &str, line: usize, what: &str| {
        let faults = read(text, KOREAN).unwrap_err();
        let begin = format!("broken-selector/lab.md:{line}: {what}");
        assert!(faults.iter().any(|fault| fault.starts_with(&begin)), "{begin}: {faults:#?}");
    };
    let (all, same) = ("  - id: all", "  - id: same");
    let check =
        LAB.lines().skip_while(|l| *l != all).find(|l| l.starts_with("    check: ")).expect("a check");
    for id in ["broken", "where"] {
        let text = LAB.replacen(&format!("{all}\n"), &format!("  - id: {id}\n"), 1);
        let text = text.replacen(check, "    check: []", 1);
        told(&text, line_of(LAB, all), &format!("task {id:?} checks nothing"));
    }
    let text = LAB.replacen(same, all, 1);
    told(&text, line_of(LAB, same), "two tasks are called \"all\"");
    let with = "    only_with: [traffic]\n";
    let at = LAB.rfind(with).expect("the second one");
    let text = format!("{}    only_with: [trafic]\n{}", &LAB[..at], &LAB[at + with.len()..]);
    told(&text, line_of(LAB, same), "task \"same\" goes with \"trafic\"");
    let text = LAB.replacen(check, "    check: {asked: kubectl get pods}", 1);
    told(&text, line_of(LAB, all), "a check of a lab is an expression");
    let folded = "    check: >-\n      raedy(v.ns + v.app)\n      && present(\"Service\", v.ns, v.app)";
    told(&LAB.replacen(check, folded, 1), line_of(LAB, check) + 1, "nothing here is called \"raedy\"");
}
